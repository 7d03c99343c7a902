"""Where Redis is, and how to be let in: from the settings to what redis-py's connections take."""

from tornado_sse.brokers.redis.address import Engine
from tornado_sse.brokers.tls import tls_context
from tornado_sse.config import Settings


def engine(settings: Settings) -> Engine:
    """Read the settings. Raises OSError (also ssl.SSLError) for files that can't be used."""
    tls_context(settings)  # redis-py reads the files when it connects: too late to refuse them
    password = settings.broker_password
    login = {"username": settings.broker_user, "password": password.get_secret_value() if password else None}
    files = {
        "ssl_ca_certs": settings.broker_ca,
        "ssl_certfile": settings.broker_cert,
        "ssl_keyfile": settings.broker_key,
    }
    tls = {name: str(file) for name, file in files.items() if file}
    return Engine(str(settings.broker), patience=settings.broker_probe, login=login, tls=tls)

"""Where Redis is, and how to be let in: from the settings to what redis-py's connections take."""

from tornado_sse.brokers.redis.address import Engine
from tornado_sse.brokers.tls import tls_context
from tornado_sse.config import Settings


def engine(settings: Settings) -> Engine:
    """Read the settings. Raises OSError (also ssl.SSLError) for files that can't be used."""
    password = settings.broker_password
    login = {"username": settings.broker_user, "password": password.get_secret_value() if password else None}
    return Engine(str(settings.broker), patience=settings.broker_probe, login=login, tls=tls_context(settings))

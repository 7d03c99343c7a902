"""Where NATS is, and how to be let in: from the settings to what nats-py's `connect` takes."""

from typing import Any

from tornado_sse.brokers.nats.broker import Servers
from tornado_sse.brokers.tls import tls_context
from tornado_sse.config import Settings


def servers(settings: Settings) -> Servers:
    """Read the settings. Raises OSError (also ssl.SSLError) for files that can't be read."""
    urls = tuple(url.strip() for url in str(settings.broker).split(","))
    options: dict[str, Any] = {"name": "tornado-sse"}
    if settings.broker_user:
        options["user"] = settings.broker_user
    if settings.broker_password:
        options["password"] = settings.broker_password.get_secret_value()
    if settings.broker_token:
        options["token"] = settings.broker_token.get_secret_value()
    if settings.broker_creds:
        options["user_credentials"] = str(settings.broker_creds)
    if settings.broker_nkey:
        options["nkeys_seed"] = str(settings.broker_nkey)
    if settings.broker_ca or settings.broker_cert:
        options["tls"] = tls_context(settings)
    return Servers(urls, options)

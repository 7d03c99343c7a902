"""TLS to a broker, from the settings."""

import ssl

from tornado_sse.config import Settings


def tls_context(settings: Settings) -> ssl.SSLContext:
    """Read the files. Raises OSError (also ssl.SSLError) for those that can't be used."""
    context = ssl.create_default_context(cafile=settings.broker_ca)
    if settings.broker_cert:
        context.load_cert_chain(settings.broker_cert, settings.broker_key)
    return context

"""Where NATS is, and how to be let in: from the settings to what nats-py's `connect` takes."""

import re
from pathlib import Path
from typing import Any

import nkeys  # type: ignore[import-untyped]
from nats.aio.client import RawCredentials

from tornado_sse.brokers.base import BrokerProblem
from tornado_sse.brokers.nats.broker import Servers
from tornado_sse.brokers.tls import tls_context
from tornado_sse.config import Settings

CREDENTIALS = re.compile(r"BEGIN NATS USER JWT-+\s+(\S+)\s.*BEGIN USER NKEY SEED-+\s+(\S+)", re.DOTALL)
"""A JWT and its seed, in a file of credentials as NATS's tools write it."""


def servers(settings: Settings) -> Servers:
    """Read the settings. Raises OSError (also ssl.SSLError) for files of TLS that can't be read."""
    urls = tuple(url.strip() for url in str(settings.broker).split(","))
    options: dict[str, Any] = {"name": "tornado-sse"}
    if settings.broker_user:
        options["user"] = settings.broker_user
    if settings.broker_password:
        options["password"] = settings.broker_password.get_secret_value()
    if settings.broker_token:
        options["token"] = settings.broker_token.get_secret_value()
    if settings.broker_ca or settings.broker_cert:
        options["tls"] = tls_context(settings)
    return Servers(urls, lambda: options | _keys(settings))


def _keys(settings: Settings) -> dict[str, Any]:
    """Read the files with keys: nats-py does so, too, but hangs or falls over where they are no such files."""
    found: dict[str, Any] = {}
    if settings.broker_nkey:
        found["nkeys_seed_str"] = _checked(_text(settings.broker_nkey).strip(), settings.broker_nkey)
    if settings.broker_creds:
        parts = CREDENTIALS.search(_text(settings.broker_creds))
        if parts is None:
            raise BrokerProblem(f"{settings.broker_creds} does not hold a JWT and its seed")
        jwt, seed = parts[1], _checked(parts[2], settings.broker_creds)
        found["user_credentials"] = RawCredentials(f"BEGIN NATS USER JWT\n{jwt}\nBEGIN USER NKEY SEED\n{seed}\n")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        raise BrokerProblem(f"{path} can't be read: {error.strerror}") from error


def _checked(seed: str, path: Path) -> str:
    try:
        nkeys.from_seed(bytearray(seed.encode()))
    except (nkeys.NkeysError, ValueError) as error:
        raise BrokerProblem(f"{path} does not hold the seed of an nkey") from error
    return seed

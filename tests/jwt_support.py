"""Keys, tokens good and bad, a clock and a key server for the tests of authentication."""

import asyncio
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from tornado_sse.jwks import Answer

SECRET = "a secret for the tests, made of 40 bytes"
NOW = 1_700_000_000.0
LEEWAY = 5.0
OTHER_SECRET = "another secret, just as long as that"
ISSUER = "https://issuer.example"
AUDIENCE = "sse"
T = TypeVar("T")

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
ALGORITHM = {"rsa": "RS256", "rsa-2": "RS256", "ec": "ES256", "ec-2": "ES256", "ed": "EdDSA", "ed-2": "EdDSA"}


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@cache
def private_key(name: str) -> PrivateKey:
    match name.split("-"):
        case ["rsa", *_]:
            return rsa.generate_private_key(public_exponent=65537, key_size=1024 if name == "rsa-small" else 2048)
        case ["ec", *_]:
            return ec.generate_private_key(ec.SECP384R1() if name == "ec-p384" else ec.SECP256R1())
        case ["ed448"]:
            return ed448.Ed448PrivateKey.generate()
        case _:
            return ed25519.Ed25519PrivateKey.generate()


def public_pem(name: str) -> bytes:
    return private_key(name).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def private_pem(name: str) -> bytes:
    return private_key(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def pem_file(folder: Path, name: str) -> Path:
    path = folder / f"{name}.pem"
    path.write_bytes(public_pem(name))
    return path


def jwk(name: str, **members: object) -> dict[str, Any]:
    """A public JWK; a member that is None is left out."""
    key = private_key(name).public_key()
    if isinstance(key, rsa.RSAPublicKey):
        found = RSAAlgorithm.to_jwk(key, as_dict=True)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        found = ECAlgorithm.to_jwk(key, as_dict=True)
    else:
        found = OKPAlgorithm.to_jwk(key, as_dict=True)
    return {name: value for name, value in (found | members).items() if value is not None}


def key_set(*keys: object) -> Answer:
    return Answer(200, json.dumps({"keys": keys}).encode())


def claims(**changes: object) -> dict[str, Any]:
    """Good claims, changed; one that is None is left out."""
    found: dict[str, object] = {"sub": "u1", "exp": NOW + 60} | changes
    return {name: value for name, value in found.items() if value is not None}


def token(name: str | None = None, headers: dict[str, Any] | None = None, **changes: object) -> str:
    """A token with good claims, changed: HS256 with the secret, or signed by the key of this name."""
    if name is None:
        return jwt.encode(claims(**changes), SECRET, algorithm="HS256", headers=headers)
    return jwt.encode(claims(**changes), private_key(name), algorithm=ALGORITHM[name], headers=headers)


def b64(data: object) -> str:
    """Base64url of bytes, of a text, or of JSON."""
    raw = data if isinstance(data, bytes) else (data if isinstance(data, str) else json.dumps(data)).encode()
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def raw(header: object = None, payload: object = None, *, secret: str | bytes = SECRET) -> str:
    """A token put together by hand and signed with HMAC-SHA256, whatever its parts say."""
    text = f"{b64({'alg': 'HS256'} if header is None else header)}.{b64(claims() if payload is None else payload)}"
    key = secret if isinstance(secret, bytes) else secret.encode()
    return f"{text}.{b64(hmac.digest(key, text.encode(), 'sha256'))}"


def with_header(**members: object) -> str:
    return raw({"alg": "HS256", **members})


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that must not suspend."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    pytest.fail("it suspended")


class KeyServer:
    """Stands in for the server of a JWKS URL: answers or fails as told, and hangs while `open` is not set."""

    def __init__(self, *keys: object) -> None:
        self.answer: Answer | Exception = key_set(*keys)
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, url: str) -> Answer:
        assert url == "https://issuer.example/keys"
        self.asked += 1
        await self.open.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Site(Application):
    """A JWKS server on the loopback interface that lies in the ways that only a real one can."""

    def __init__(self) -> None:
        super().__init__([(r"/(.*)", Page, {"site": self})])
        self.asked: list[str] = []
        self.mood = "good"
        self.released = asyncio.Event()


class Page(RequestHandler):
    def initialize(self, site: Site) -> None:
        self.site = site

    async def get(self, page: str) -> None:
        self.site.asked.append(page)
        await getattr(self, f"get_{page}")()

    async def get_good(self) -> None:
        self.write(key_set(jwk("ec", kid="k1")).body)

    async def get_moody(self) -> None:
        await getattr(self, f"get_{self.site.mood}")()

    async def get_redirect(self) -> None:
        self.redirect("/good")

    async def get_giant(self) -> None:
        self.write(key_set(jwk("ec", kid="k1")).body + b" " * 65536)

    async def get_endless(self) -> None:
        while not self.site.released.is_set():
            self.write(b" " * 8192)
            await self.flush()

    async def get_bomb(self) -> None:
        self.set_header("Content-Encoding", "gzip")
        self.write(b"\x1f\x8b\x08\x00")

    async def get_hang(self) -> None:
        await self.site.released.wait()

    async def get_crawl(self) -> None:
        self.write(b"{")
        await self.flush()
        await self.site.released.wait()

    async def get_html(self) -> None:
        self.write("<html>")

    async def get_deep(self) -> None:
        self.write("[" * 60_000)

    async def get_secret(self) -> None:
        self.write(key_set({"kty": "oct", "k": b64(SECRET), "kid": "k1"}).body)

    async def get_broken(self) -> None:
        self.set_status(500)


@asynccontextmanager
async def site() -> AsyncIterator[tuple[Site, str]]:
    socket, port = bind_unused_port()
    application = Site()
    server = HTTPServer(application)
    server.add_socket(socket)
    try:
        yield application, f"http://127.0.0.1:{port}"
    finally:
        application.released.set()
        server.stop()
        await server.close_all_connections()

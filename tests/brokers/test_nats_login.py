"""The ways in to NATS, each tried at a real server that wants it."""

import asyncio
import json
import re
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nkeys  # type: ignore[import-untyped]
import pytest

from login_support import Authority, carries_a_message
from nats_support import NatsServer
from tornado_sse.brokers.base import BrokerProblem
from tornado_sse.brokers.nats.login import servers
from tornado_sse.config import Settings
from tornado_sse.errors import Unavailable

DOCUMENTATION = (Path(__file__).parents[2] / "docs" / "engines.md").read_text()


def test_several_servers_and_no_way_in_but_the_name() -> None:
    found = servers(Settings(broker="nats://a:1, tls://b"))
    assert found.urls == ("nats://a:1", "tls://b")
    assert found.options() == {"name": "tornado-sse"}


class Key:
    """A pair of keys; `seed` is its private half as text."""

    def __init__(self, prefix: int) -> None:
        self.seed: str = nkeys.encode_seed(secrets.token_bytes(32), prefix).decode()
        self._pair = nkeys.from_seed(bytearray(self.seed.encode()))
        self.public: str = self._pair.public_key.decode()

    def sign(self, subject: str, kind: str, **what: object) -> str:
        """Make a JWT as NATS wants it."""
        claims = {
            "iss": self.public,
            "sub": subject,
            "iat": int(time.time()),
            "nats": {"type": kind, "version": 2} | what,
        }
        parts = [_base64(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, claims)]
        return ".".join([*parts, _base64(self._pair.sign(".".join(parts).encode()))])


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


class Realm:
    """An operator, an account and a user of it; `config` is for the server, `credentials` for who connects."""

    def __init__(self) -> None:
        operator, account, system = Key(nkeys.PREFIX_BYTE_OPERATOR), *(Key(nkeys.PREFIX_BYTE_ACCOUNT) for _ in "12")
        user = Key(nkeys.PREFIX_BYTE_USER)
        names = ("subs", "data", "payload", "imports", "exports", "conn", "leaf")
        limits = dict.fromkeys(names, -1) | {"wildcards": True}
        stored = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)
        preloaded = {
            account.public: operator.sign(account.public, "account", limits=limits | stored),
            system.public: operator.sign(system.public, "account", limits=limits),
        }
        self.config = {
            "operator": operator.sign(operator.public, "operator", system_account=system.public),
            "resolver": "MEMORY",
            "resolver_preload": preloaded,
        }
        token = account.sign(user.public, "user", subs=-1, data=-1, payload=-1)
        self.credentials = (
            f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
        )


@contextmanager
def running(folder: Path, config: dict[str, Any]) -> Iterator[str]:
    """Run a server with this configuration; give its URL."""
    file = folder / "nats.conf"
    file.write_text(json.dumps(config))
    server = NatsServer("-c", str(file))
    server.start()
    try:
        yield server.url
    finally:
        server.close()


def let_in(url: str, **settings: Any) -> None:
    asyncio.run(carries_a_message(url, **settings))


def as_file(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


Way = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]
"""What the server wants, settings that give it, and some that do not."""


def password(_: Path) -> Way:
    who = {"broker_user": "sse"}
    wanted = {"authorization": {"user": "sse", "password": "p@ss"}}
    return wanted, who | {"broker_password": "p@ss"}, who | {"broker_password": "wrong"}


def token(_: Path) -> Way:
    return {"authorization": {"token": "t0ken"}}, {"broker_token": "t0ken"}, {"broker_token": "wrong"}


def nkey(folder: Path) -> Way:
    right, wrong = (Key(nkeys.PREFIX_BYTE_USER) for _ in range(2))
    files = [as_file(folder / key.public, key.seed + "\n") for key in (right, wrong)]
    wanted = {"authorization": {"users": [{"nkey": right.public}]}}
    return wanted, {"broker_nkey": files[0]}, {"broker_nkey": files[1]}


def creds(folder: Path) -> Way:
    right, wrong = Realm(), Realm()
    files = [as_file(folder / name, realm.credentials) for name, realm in (("right", right), ("wrong", wrong))]
    return right.config, {"broker_creds": files[0]}, {"broker_creds": files[1]}


@pytest.mark.parametrize("way", [password, token, nkey, creds])
def test_who_shows_the_right_thing_is_let_in_and_nobody_else(tmp_path: Path, way: Callable[[Path], Way]) -> None:
    wanted, right, wrong = way(tmp_path)
    with running(tmp_path, wanted) as url:
        let_in(url, **right)
        for settings in ({}, wrong):
            with pytest.raises(BrokerProblem, match="Authorization Violation"):
                let_in(url, **settings)


def test_the_rights_that_the_documentation_names_are_enough(tmp_path: Path) -> None:
    sentence = re.search(
        r"A node needs to\s+publish to (.*?), and to subscribe\s+to (.*?)\.\n", DOCUMENTATION, re.DOTALL
    )
    assert sentence
    publish, subscribe = (re.findall(r"`([^`]+)`", part) for part in sentence.groups())
    rights = {"publish": publish, "subscribe": subscribe}
    user = {"user": "sse", "password": "p@ss", "permissions": rights}
    with running(tmp_path, {"authorization": {"users": [user]}}) as url:
        let_in(url, broker_user="sse", broker_password="p@ss")


def test_credentials_are_read_anew_for_each_connection(tmp_path: Path) -> None:
    realm = Realm()
    file = as_file(tmp_path / "creds", Realm().credentials)
    found = servers(Settings(broker="nats://a", broker_creds=file))
    before = found.options()
    as_file(file, realm.credentials.replace("\n", "\r\n"))
    assert found.options() != before
    with running(tmp_path, realm.config) as url:
        let_in(url, broker_creds=file)


SEED = "-----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n"
JWT = "-----BEGIN NATS USER JWT-----\ne30.e30.e30\n------END NATS USER JWT------\n"


@pytest.mark.parametrize(
    ("setting", "text", "problem"),
    [
        ("broker_nkey", None, "No such file"),
        ("broker_nkey", "", "does not hold the seed of an nkey"),
        ("broker_nkey", "SU" + "A" * 20, "does not hold the seed of an nkey"),
        ("broker_nkey", "no seed \u00e9", "does not hold the seed of an nkey"),
        ("broker_creds", None, "No such file"),
        ("broker_creds", "", "does not hold a JWT and its seed"),
        ("broker_creds", JWT, "does not hold a JWT and its seed"),
        ("broker_creds", SEED.format("x"), "does not hold a JWT and its seed"),
        ("broker_creds", JWT + SEED.format("x"), "does not hold the seed of an nkey"),
    ],
)
def test_a_file_that_is_no_good_is_named(tmp_path: Path, setting: str, text: str | None, problem: str) -> None:
    file = tmp_path / "file"
    if text is not None:
        file.write_text(text)
    with pytest.raises(BrokerProblem, match=rf"{file} .*{problem}"):
        let_in("nats://127.0.0.1:1", **{setting: file})


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours").found()


@pytest.fixture
def others(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "others").found()


def encrypted(authority: Authority, host: str = "IP:127.0.0.1", *, wants_certificate: bool = False) -> dict[str, Any]:
    both = str(authority.sign("server", host))
    return {"tls": {"cert_file": both, "key_file": both, "ca_file": str(authority.ca), "verify": wants_certificate}}


def test_tls_by_the_authority_that_is_named_or_else_those_of_the_system(
    tmp_path: Path, ours: Authority, others: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path, encrypted(ours)) as url:
        let_in(url, broker_ca=ours.ca)
        let_in(url.replace("nats:", "tls:"), broker_ca=ours.ca)
        for settings in ({}, {"broker_ca": others.ca}):
            with pytest.raises(Unavailable, match="certificate verify failed"):
                let_in(url, **settings)
        monkeypatch.setenv("SSL_CERT_FILE", str(ours.ca))
        let_in(url)
        with pytest.raises(Unavailable, match="certificate verify failed"):
            let_in(url, broker_ca=others.ca)


def test_the_name_in_the_certificate_matters(tmp_path: Path, ours: Authority) -> None:
    with (
        running(tmp_path, encrypted(ours, "DNS:elsewhere")) as url,
        pytest.raises(Unavailable, match="certificate verify failed"),
    ):
        let_in(url, broker_ca=ours.ca)


def test_a_certificate_of_our_own(tmp_path: Path, ours: Authority, others: Authority) -> None:
    with running(tmp_path, encrypted(ours, wants_certificate=True)) as url:
        let_in(url, broker_ca=ours.ca, broker_cert=ours.sign("node"))
        for certificate in ({}, {"broker_cert": others.sign("node")}):
            with pytest.raises(Unavailable):
                let_in(url, broker_ca=ours.ca, **certificate)


@pytest.mark.parametrize("scheme", ["nats:", "tls:"])
def test_a_server_without_tls_is_told_nothing_where_tls_is_wanted(scheme: str, ours: Authority) -> None:
    heard = b""

    async def strip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal heard
        writer.write(b'INFO {"version": "2.11.0", "max_payload": 1048576, "auth_required": true}\r\n')
        heard += await reader.read(65536)
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(strip, "127.0.0.1", 0)
        url = f"{scheme}//127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server:
            with pytest.raises(Unavailable):
                await carries_a_message(url, broker_ca=ours.ca, broker_user="sse", broker_password="p@ss")

    asyncio.run(run())
    assert heard.startswith(b"\x16\x03"), "no TLS handshake"
    assert b"p@ss" not in heard


def test_who_offers_tls_without_asking_for_it_gets_it(tmp_path: Path, ours: Authority) -> None:
    with running(tmp_path, encrypted(ours) | {"allow_non_tls": True}) as url:
        let_in(url.replace("nats:", "tls:"), broker_ca=ours.ca)
        with pytest.raises(Unavailable, match="certificate verify failed"):
            let_in(url.replace("nats:", "tls:"))


def test_a_file_of_tls_that_can_not_be_read() -> None:
    with pytest.raises(OSError, match="No such file"):
        servers(Settings(broker="tls://a", broker_ca="/nothing"))

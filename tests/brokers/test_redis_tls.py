"""Redis by TLS: real certificates, of an authority of our own. What ends TLS stands before a server that has none."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from login_support import Authority, carries_a_message
from tcp_proxy import tcp_proxy
from tornado_sse.errors import Unavailable
from valkey_support import Valkey, valkey


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours").found()


@pytest.fixture
def others(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "others").found()


@asynccontextmanager
async def running(tls: ssl.SSLContext) -> AsyncIterator[str]:
    """Run a server that is reached by TLS; give its URL."""
    async with valkey() as server, tcp_proxy(server.port, tls) as proxy:
        yield f"rediss://127.0.0.1:{proxy.port}"


def play(tls: ssl.SSLContext, **settings: Any) -> None:
    async def run() -> None:
        async with running(tls) as url:
            await carries_a_message(url, **settings)

    asyncio.run(run())


def test_a_server_of_the_authority_that_is_named(ours: Authority) -> None:
    play(ours.server(), broker_ca=ours.ca)


def test_without_one_those_of_the_system_count(ours: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unavailable, match="certificate verify failed"):
        play(ours.server())
    monkeypatch.setenv("SSL_CERT_FILE", str(ours.ca))
    play(ours.server())


def test_where_one_is_named_no_other_counts(
    ours: Authority, others: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ours.ca))
    with pytest.raises(Unavailable, match="certificate verify failed"):
        play(ours.server(), broker_ca=others.ca)


def test_the_name_in_the_certificate_matters(ours: Authority) -> None:
    with pytest.raises(Unavailable, match="certificate verify failed"):
        play(ours.server("DNS:elsewhere"), broker_ca=ours.ca)


def test_a_certificate_of_our_own(ours: Authority, others: Authority) -> None:
    server = ours.server(wants_certificate=True)
    play(server, broker_ca=ours.ca, broker_cert=ours.sign("node"))
    for certificate in ({}, {"broker_cert": others.sign("node")}):
        with pytest.raises(Unavailable):
            play(server, broker_ca=ours.ca, **certificate)


def test_sentinels_are_asked_by_tls_too(ours: Authority, tmp_path: Path) -> None:
    server = ours.server(wants_certificate=True)

    async def run() -> None:
        async with AsyncExitStack() as stack:
            master = await stack.enter_async_context(valkey())
            encrypted = await stack.enter_async_context(tcp_proxy(master.port, server))
            conf = tmp_path / "sentinel.conf"
            conf.write_text(f"sentinel monitor main 127.0.0.1 {encrypted.port} 1\n")
            sentinel = Valkey(tmp_path, str(conf), "--sentinel")
            stack.push_async_callback(sentinel.close)
            sentinel.start()
            asked = await stack.enter_async_context(tcp_proxy(sentinel.port, server))
            url = f"rediss+sentinel://127.0.0.1:{asked.port}/main"
            await carries_a_message(url, broker_ca=ours.ca, broker_cert=ours.sign("node"))
            with pytest.raises(Unavailable):
                await carries_a_message(url, broker_ca=ours.ca)

    asyncio.run(run())

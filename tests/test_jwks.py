import asyncio
import json
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tornado.testing import bind_unused_port

from jwt_support import Clock, KeyServer, jwk, key_set, private_key, site, token
from tornado_sse.auth import Authenticator
from tornado_sse.errors import AuthFailure, Unauthorized, Unavailable
from tornado_sse.jwks import Answer, Jwks, read_key_set
from tornado_sse.keys import KeyProblem, KeyRing

URL = "https://issuer.example/keys"


class Setup:
    """A key server, a clock for the key set, and an authenticator that knows keys from that server only."""

    def __init__(self, *keys: object, timeout: float = 3.0) -> None:
        self.server = KeyServer(*keys)
        self.clock = Clock(0)
        self.jwks = Jwks(URL, fetch=self.server, clock=self.clock, timeout=timeout)
        self.authenticator = Authenticator(KeyRing(jwks=self.jwks), clock=Clock())

    async def result(self, name: str, kid: str | None) -> AuthFailure | str:
        """Why a token signed by this key is refused, or its user."""
        try:
            headers = None if kid is None else {"kid": kid}
            return (await self.authenticator.verify(token(name, headers))).user
        except Unauthorized as refused:
            return refused.failure


async def turns() -> None:
    """Let all that is ready run."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_nothing_is_fetched_before_a_key_is_wanted() -> None:
    assert Setup(jwk("ec", kid="k1")).server.asked == 0


@pytest.mark.gen_test
async def test_the_first_token_fetches_the_keys_and_the_next_need_no_fetch() -> None:
    setup = Setup(jwk("ec", kid="k1"), jwk("rsa", kid="k2"), jwk("ed", kid="k3"))
    for name, kid in (("ec", "k1"), ("rsa", "k2"), ("ed", "k3"), ("ec", None)):
        assert await setup.result(name, kid) == "u1"
    assert setup.server.asked == 1


@pytest.mark.gen_test
async def test_keys_rotate_without_a_restart() -> None:
    setup = Setup(jwk("ec", kid="k1"))
    assert await setup.result("ec", "k1") == "u1"
    setup.server.answer = key_set(jwk("ec", kid="k1"), jwk("ec-2", kid="k2"))
    setup.clock.now += 30
    assert await setup.result("ec-2", "k2") == "u1"
    assert await setup.result("ec", "k1") == "u1"
    setup.server.answer = key_set(jwk("ec-2", kid="k2"))
    setup.clock.now += 300
    assert await setup.result("ec-2", "k2") == "u1"
    await setup.jwks.warm()
    assert await setup.result("ec", "k1") is AuthFailure.UNKNOWN_KEY
    assert setup.server.asked == 3


@pytest.mark.gen_test
async def test_a_remembered_token_dies_with_its_key() -> None:
    setup = Setup(jwk("ec", kid="k1"))
    text = token("ec", {"kid": "k1"})
    assert await setup.authenticator.verify(text, reuse=True)
    setup.server.answer = key_set(jwk("ec-2", kid="k2"))
    setup.clock.now += 300
    assert await setup.authenticator.verify(text, reuse=True)
    await setup.jwks.warm()
    with pytest.raises(Unauthorized):
        await setup.authenticator.verify(text, reuse=True)


@pytest.mark.gen_test
async def test_the_version_counts_changes_only() -> None:
    setup = Setup(jwk("ec", kid="k1"))
    await setup.jwks.warm()
    first = setup.jwks.version
    setup.clock.now += 30
    await setup.jwks.warm()
    assert setup.jwks.version == first
    setup.server.answer = key_set(jwk("ec-2", kid="k1"))
    setup.clock.now += 30
    await setup.jwks.warm()
    assert setup.jwks.version == first + 1


@pytest.mark.gen_test
async def test_ten_thousand_unknown_ids_at_once_are_one_fetch() -> None:
    setup = Setup(jwk("ec", kid="k1"))
    await setup.jwks.warm()
    setup.clock.now += 30
    setup.server.open.clear()
    text = token("ec")
    ring = KeyRing(jwks=setup.jwks)
    asking = [
        asyncio.ensure_future(ring.verify("ES256", f"k{number}x", text.encode(), b"")) for number in range(10_000)
    ]
    await turns()
    assert setup.server.asked == 2
    setup.server.open.set()
    refused = await asyncio.gather(*asking, return_exceptions=True)
    assert {isinstance(problem, Unauthorized) and problem.failure for problem in refused} == {AuthFailure.UNKNOWN_KEY}
    assert setup.server.asked == 2


@pytest.mark.gen_test
async def test_an_unknown_id_is_refused_at_once_while_it_is_too_soon_to_fetch() -> None:
    setup = Setup(jwk("ec", kid="k1"))
    await setup.jwks.warm()
    setup.server.open.clear()
    setup.clock.now += 29
    assert await setup.result("ec", "k2") is AuthFailure.UNKNOWN_KEY
    assert setup.server.asked == 1


@pytest.mark.gen_test
async def test_old_keys_serve_while_newer_ones_are_fetched_behind_them() -> None:
    setup = Setup(jwk("ec", kid="k1"))
    await setup.jwks.warm()
    setup.server.open.clear()
    setup.clock.now += 299
    assert await setup.result("ec", "k1") == "u1"
    await turns()
    assert setup.server.asked == 1
    setup.clock.now += 1
    for _ in range(3):
        assert await setup.result("ec", "k1") == "u1"
        await turns()
    assert setup.server.asked == 2
    setup.server.open.set()
    await setup.jwks.warm()
    assert await setup.result("ec", "k1") == "u1"
    assert setup.server.asked == 2


LIES: dict[str, Answer | Exception] = {
    "an error": OSError("connection refused"),
    "an error no one expects": RuntimeError("it broke"),
    "status 500": key_set(jwk("ec-2"))._replace(status=500),
    "a redirect": key_set(jwk("ec-2"))._replace(status=302),
    "not modified": Answer(304, b""),
    "nothing": Answer(200, b""),
    "no JSON": Answer(200, b"<html>"),
    "no text": Answer(200, b"\xff\xfe\x00\xd8"),
    "deep JSON": Answer(200, b"[" * 60_000),
    "a list": Answer(200, json.dumps([jwk("ec-2")]).encode()),
    "a key without a set": Answer(200, json.dumps(jwk("ec-2")).encode()),
    "keys that are no list": Answer(200, json.dumps({"keys": jwk("ec-2")}).encode()),
    "no keys": key_set(),
    "too many keys": key_set(*[jwk("ec-2")] * 65),
    "too many bytes": Answer(200, json.dumps({"keys": [jwk("ec-2")], "x": "x" * 65536}).encode()),
    "a secret": key_set({"kty": "oct", "k": "c2VjcmV0", "kid": "k1"}),
    "a private key": key_set(jwk("ec-2") | {"d": "AAAA"}),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
@pytest.mark.gen_test
async def test_a_failing_or_lying_server_takes_no_good_key_away(lie: Answer | Exception) -> None:
    setup = Setup(jwk("ec", kid="k1"))
    await setup.jwks.warm()
    setup.server.answer = lie
    setup.clock.now += 300
    with capture_logs() as logs:
        await setup.jwks.warm()
        assert await setup.result("ec", "k1") == "u1"
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("jwks_fetch_failed", "warning")]
    assert setup.server.asked == 2


@pytest.mark.gen_test
async def test_a_server_that_fails_is_asked_and_complained_about_once_a_cooldown() -> None:
    setup = Setup(jwk("ec", kid="k1"))
    await setup.jwks.warm()
    setup.server.answer = OSError("connection refused")
    setup.clock.now += 300
    with capture_logs() as logs:
        for _ in range(90):
            assert await setup.result("ec", "k1") == "u1"
            await turns()
            setup.clock.now += 1
    assert len(logs) == 3
    assert setup.server.asked == 4


@pytest.mark.gen_test
async def test_a_hanging_server_holds_up_no_token_whose_key_is_known() -> None:
    setup = Setup(jwk("ec", kid="k1"), timeout=0.05)
    await setup.jwks.warm()
    setup.server.open.clear()
    setup.clock.now += 300
    unknown = asyncio.ensure_future(setup.result("ec", "k2"))
    await turns()
    assert await setup.result("ec", "k1") == "u1"
    assert not unknown.done()
    assert await unknown is AuthFailure.UNKNOWN_KEY
    assert await setup.result("ec", "k1") == "u1"


@pytest.mark.gen_test
async def test_the_first_fetch_is_not_waited_for_longer_than_its_time() -> None:
    setup = Setup(jwk("ec", kid="k1"), timeout=0.02)
    setup.server.open.clear()
    with capture_logs() as logs, pytest.raises(Unavailable) as caught:
        await asyncio.wait_for(setup.result("ec", "k1"), 5)
    assert caught.value.headers["Retry-After"] == "1"
    assert logs[0]["error"] == "TimeoutError"


@pytest.mark.gen_test
async def test_without_any_key_the_server_is_asked_again_after_a_second() -> None:
    setup = Setup(jwk("ec", kid="k1"))
    good, setup.server.answer = setup.server.answer, OSError("connection refused")
    with capture_logs() as logs:
        await setup.jwks.warm()
        for _ in range(3):
            with pytest.raises(Unavailable):
                await setup.result("ec", "k1")
        assert setup.server.asked == 1
        setup.clock.now += 1
        with pytest.raises(Unavailable):
            await setup.result("ec", "k1")
    assert setup.server.asked == 2
    assert len(logs) == 1
    setup.server.answer = good
    setup.clock.now += 1
    assert await setup.result("ec", "k1") == "u1"


@pytest.mark.gen_test
async def test_who_gives_up_waiting_does_not_spoil_the_fetch_for_others() -> None:
    setup = Setup(jwk("ec", kid="k1"))
    setup.server.open.clear()
    first, second = (asyncio.ensure_future(setup.result("ec", "k1")) for _ in range(2))
    await turns()
    first.cancel()
    await turns()
    assert first.cancelled()
    setup.server.open.set()
    assert await second == "u1"
    assert setup.server.asked == 1


@pytest.mark.gen_test
async def test_closing_ends_a_fetch_and_starts_no_other() -> None:
    setup = Setup(jwk("ec", kid="k1"))
    setup.server.open.clear()
    waiting = asyncio.ensure_future(setup.result("ec", "k1"))
    await turns()
    setup.jwks.close()
    with pytest.raises(Unavailable):
        await waiting
    setup.clock.now += 1000
    with pytest.raises(Unavailable):
        await setup.result("ec", "k1")
    assert setup.server.asked == 1
    setup.jwks.close()


@pytest.mark.gen_test
async def test_warming_fetches_ahead_and_a_new_ring_keeps_the_cache() -> None:
    setup = Setup(jwk("ec", kid="k1"))
    await setup.jwks.warm()
    setup.authenticator = Authenticator(KeyRing(jwks=setup.jwks), clock=Clock())
    setup.server.open.clear()
    assert await setup.result("ec", "k1") == "u1"


@pytest.mark.parametrize("name", ["ec", "rsa", "ed"])
@pytest.mark.parametrize(
    "members",
    [
        {},
        {"kid": "k1"},
        {"use": "sig"},
        {"key_ops": ["verify"]},
        {"key_ops": ["sign", "verify"]},
        {"use": "sig", "key_ops": ["verify"], "x5t": "x", "unknown": [1]},
    ],
)
def test_a_key_that_verifies_is_taken(name: str, members: dict[str, object]) -> None:
    (key,) = read_key_set(key_set(jwk(name, **{"key_ops": None} | members)))
    assert key.material == private_key(name).public_key()
    assert key.kid == members.get("kid")


@pytest.mark.parametrize(("name", "alg"), [("ec", "ES256"), ("rsa", "RS256"), ("ed", "EdDSA")])
def test_a_key_serves_the_algorithm_of_its_type_and_no_other(name: str, alg: str) -> None:
    (key,) = read_key_set(key_set(jwk(name, alg=alg)))
    assert key.alg == alg
    for other in {"ES256", "RS256", "EdDSA", "HS256", "PS256", "none", ""} - {alg}:
        with pytest.raises(KeyProblem, match="no usable key"):
            read_key_set(key_set(jwk(name, alg=other)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: None,
        lambda: 1,
        lambda: "k1",
        list,
        dict,
        lambda: {"kty": "oct", "k": "c2VjcmV0LCBhbmQgbG9uZyBlbm91Z2ggZm9yIEhTMjU2"},
        lambda: {"kty": "oct", "k": "c2VjcmV0LCBhbmQgbG9uZyBlbm91Z2ggZm9yIEhTMjU2", "alg": "HS256"},
        lambda: jwk("ec", kty="ec"),
        lambda: jwk("ec", kty="RSA"),
        lambda: jwk("ec", kty=["EC"]),
        lambda: jwk("ec", kty=None),
        lambda: jwk("ec", crv=None),
        lambda: jwk("ec", crv="P-384"),
        lambda: jwk("ec", crv=["P-256"]),
        lambda: jwk("ec", x=None),
        lambda: jwk("ec", x=1),
        lambda: jwk("ec", x="!!!!"),
        lambda: jwk("ec", x="é"),
        lambda: jwk("ec", x=jwk("ec-2")["x"]),
        lambda: jwk("ec", use="enc"),
        lambda: jwk("ec", use=["sig"]),
        lambda: jwk("ec", key_ops=["sign"]),
        lambda: jwk("ec", key_ops="verify"),
        lambda: jwk("ec", key_ops=[]),
        lambda: jwk("ec", kid=1),
        lambda: jwk("ec") | {"kid": None},
        lambda: jwk("ec", d="AAAA"),
        lambda: jwk("ec-p384"),
        lambda: jwk("ed448"),
        lambda: jwk("ed", x="AAAA"),
        lambda: jwk("ed", crv="X25519"),
        lambda: jwk("rsa-small"),
        lambda: jwk("rsa", n=""),
        lambda: jwk("rsa", n="AA"),
        lambda: jwk("rsa", e="AQ"),
        lambda: jwk("rsa", e="AA"),
        lambda: jwk("rsa", e=None),
        lambda: jwk("rsa", n="_" * 30_000),
        lambda: jwk("rsa", e="_" * 30_000),
    ],
)
def test_a_bad_key_is_skipped_and_the_good_one_beside_it_kept(make: Callable[[], object]) -> None:
    keys = read_key_set(key_set(make(), jwk("ed", kid="good"), make()))
    assert [key.kid for key in keys] == ["good"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
MEMBERS = st.sampled_from(["kty", "crv", "x", "y", "n", "e", "alg", "use", "key_ops", "kid"])


@given(st.sampled_from(["ec", "rsa", "ed"]), st.dictionaries(MEMBERS, JSON))
def test_no_member_makes_reading_fail_otherwise(name: str, members: dict[str, object]) -> None:
    with suppress(KeyProblem):
        assert read_key_set(key_set(jwk(name) | members))


@pytest.mark.gen_test
async def test_the_keys_of_a_real_server_are_used() -> None:
    async with site() as (application, url):
        jwks = Jwks(f"{url}/good")
        await jwks.warm()
        assert [key.kid for key in jwks.at_hand("ES256", "k1")] == ["k1"]
        assert application.asked == ["good"]


@pytest.mark.parametrize("page", ["redirect", "giant", "endless", "bomb", "hang", "crawl", "broken"])
@pytest.mark.gen_test
async def test_a_real_server_that_misbehaves_gives_no_keys_in_bounded_time(page: str) -> None:
    """A redirect in particular could lead to a host that only this server can reach."""
    async with site() as (application, url):
        jwks = Jwks(f"{url}/{page}", timeout=0.3)
        with capture_logs() as logs, pytest.raises(Unavailable):
            await asyncio.wait_for(jwks.renew(), 10)
        assert len(logs) == 1
        assert application.asked == [page]


@pytest.mark.gen_test
async def test_a_server_that_is_not_there_gives_no_keys() -> None:
    socket, port = bind_unused_port()
    socket.close()
    with pytest.raises(Unavailable):
        await Jwks(f"http://127.0.0.1:{port}/keys").renew()

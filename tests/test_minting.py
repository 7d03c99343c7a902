import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jwt_support import NOW, OTHER_SECRET, SECRET, Clock, at_once, b64, raw, token
from tornado_sse.auth import Authenticator, Principal, Scope
from tornado_sse.errors import AuthFailure, BadRequest, Unauthorized
from tornado_sse.keys import KeyProblem, KeyRing
from tornado_sse.minting import Minter, looks_minted, valid_session_id

MINTED_HEADER = '{"alg":"HS256","typ":"sse-session+jwt"}'


def minter(secret: str = SECRET, clock: Clock | None = None) -> Minter:
    return Minter(secret, clock=clock or Clock())


def failure(session_id: str) -> AuthFailure:
    with pytest.raises(Unauthorized) as caught:
        minter().open(session_id)
    assert caught.value.__cause__ is None
    return caught.value.failure


def test_a_minted_id_opens_as_what_it_was_minted_for() -> None:
    minted = minter().mint("u1", 60, ["news", "team.*"])
    assert (minted.user, minted.expires_at) == ("u1", NOW + 60)
    assert minter().open(minted.session_id) == Principal(
        user="u1",
        session=minted.session_id,
        scopes=frozenset({Scope.SUBSCRIBE}),
        channels=("news", "team.*"),
        expires_at=NOW + 60,
    )


def test_a_minted_id_is_a_jwt_of_its_own_type() -> None:
    session_id = minter().mint("u1", 60).session_id
    assert jwt.get_unverified_header(session_id) == {"alg": "HS256", "typ": "sse-session+jwt"}
    claims = jwt.decode(session_id, options={"verify_signature": False})
    assert claims.keys() == {"sub", "exp", "jti"}
    assert looks_minted(session_id)
    assert not valid_session_id(session_id)


def test_no_two_minted_ids_are_alike() -> None:
    assert len({minter().mint("u1", 60).session_id for _ in range(100)}) == 100


def test_a_minted_id_expires() -> None:
    clock = Clock()
    session_id = minter(clock=clock).mint("u1", 60).session_id
    clock.now = NOW + 59.9
    assert minter(clock=clock).open(session_id)
    clock.now = NOW + 60
    with pytest.raises(Unauthorized) as caught:
        minter(clock=clock).open(session_id)
    assert caught.value.failure is AuthFailure.EXPIRED


def test_an_expired_id_still_tells_whose_it_is_to_who_asks_for_no_more() -> None:
    clock = Clock()
    session_id = minter(clock=clock).mint("u1", 60).session_id
    clock.now = NOW + 61
    principal = minter(clock=clock).open(session_id, expired_too=True)
    assert principal
    assert (principal.user, principal.expires_at) == ("u1", NOW + 60)
    with pytest.raises(Unauthorized) as caught:
        minter(clock=clock).open(session_id + "A", expired_too=True)
    assert caught.value.failure is AuthFailure.SESSION


@pytest.mark.parametrize("session_id", ["", "s1", "a.b.c", "x" * 2000, token(), b64('{"alg":"none"}') + ".e30."])
def test_what_does_not_look_minted_is_nobodys(session_id: str) -> None:
    assert not looks_minted(session_id)
    assert minter().open(session_id) is None


@pytest.mark.parametrize(
    "session_id",
    [
        b64(MINTED_HEADER) + ".",
        b64(MINTED_HEADER) + ".e30.",
        b64(MINTED_HEADER) + ".e30.e30.e30",
        b64(MINTED_HEADER) + ".é.é",
        b64(MINTED_HEADER) + "." + "x" * 2000,
        raw(MINTED_HEADER),
        raw(MINTED_HEADER, secret=""),
        minter(OTHER_SECRET).mint("u1", 60).session_id,
        minter().mint("u1", 60).session_id[:-4],
        minter().mint("u1", 60).session_id + "A",
    ],
)
def test_what_looks_minted_but_is_not_is_refused(session_id: str) -> None:
    assert looks_minted(session_id)
    assert failure(session_id) is AuthFailure.SESSION


def test_an_id_longer_than_the_limit_is_refused_though_its_signature_is_good() -> None:
    key = minter()._key.material
    payload = {"sub": "u1", "exp": NOW + 60, "filler": "x" * 1000}
    assert failure(raw(MINTED_HEADER, payload, secret=key)) is AuthFailure.SESSION


@pytest.mark.parametrize("payload", ["[]", "{}", '{"sub":"u1"}', '{"sub":"","exp":1800000000}', "x"])
def test_an_id_whose_signature_is_good_may_still_say_nothing(payload: str) -> None:
    """A later release might sign other claims with the same key."""
    assert failure(raw(MINTED_HEADER, payload, secret=minter()._key.material)) is AuthFailure.SESSION


def test_a_minted_id_grants_no_more_than_to_subscribe() -> None:
    payload = {"sub": "u1", "exp": NOW + 60, "scope": "publish admin", "sid": "other"}
    session_id = raw(MINTED_HEADER, payload, secret=minter()._key.material)
    principal = minter().open(session_id)
    assert principal
    assert principal.scopes == {Scope.SUBSCRIBE}
    assert principal.session == session_id


def test_neither_a_token_nor_an_id_passes_for_the_other() -> None:
    """RFC 8725 section 3.11: different types, and different keys from the one secret."""
    session_id = minter().mint("u1", 60).session_id
    guard = Authenticator(KeyRing(secret=SECRET), clock=Clock())
    with pytest.raises(Unauthorized):
        at_once(guard.verify(session_id))
    as_bearer = Authenticator(KeyRing(secret=OTHER_SECRET), clock=Clock())
    with pytest.raises(Unauthorized):
        at_once(as_bearer.verify(session_id))
    assert minter().open(token()) is None


@pytest.mark.parametrize(("user", "channels"), [("", ()), ("u" * 257, ()), ("a\nb", ()), ("u1", [""]), ("u1", ["c\0"])])
def test_a_user_or_channel_that_no_token_may_name_is_not_minted(user: str, channels: list[str]) -> None:
    with pytest.raises(BadRequest, match="no length that is allowed, or holds control characters"):
        minter().mint(user, 60, channels)


def test_an_id_is_at_most_1024_characters_long() -> None:
    assert len(minter().mint("u" * 256, 60, ["c" * 100] * 2).session_id) <= 1024
    with pytest.raises(BadRequest, match="too long for an id of 1024 characters"):
        minter().mint("u" * 256, 60, ["c" * 100] * 5)


@given(st.text(min_size=1, max_size=40), st.lists(st.text(min_size=1, max_size=5), max_size=5))
def test_whatever_can_be_minted_opens_again(user: str, channels: list[str]) -> None:
    try:
        session_id = minter().mint(user, 60, channels).session_id
    except BadRequest:
        return
    principal = minter().open(session_id)
    assert principal
    assert (principal.user, principal.channels) == (user, tuple(channels))


@given(st.text(max_size=80))
def test_no_text_makes_opening_fail_otherwise(rest: str) -> None:
    assert failure(b64(MINTED_HEADER) + "." + rest) is AuthFailure.SESSION


def test_a_short_secret_mints_nothing() -> None:
    with pytest.raises(KeyProblem, match="31 bytes"):
        Minter("s" * 31)


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("s", True),
        ("Az09._~-", True),
        ("s" * 128, True),
        ("s" * 129, False),
        ("", False),
        ("a b", False),
        ("a\n", False),
        ("a/b", False),
        ("a%20", False),
        ("é", False),
        ("٣", False),
    ],
)
def test_a_client_may_choose_a_session_id_of_plain_characters(text: str, valid: bool) -> None:
    assert valid_session_id(text) is valid

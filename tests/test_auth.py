import re
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bad_tokens import BAD, FOREIGN, of_type
from jwt_support import (
    AUDIENCE,
    ISSUER,
    LEEWAY,
    NOW,
    OTHER_SECRET,
    SECRET,
    Clock,
    at_once,
    claims,
    pem_file,
    raw,
    token,
)
from tornado_sse.auth import Authenticator, Principal, Scope, bearer_token, read_principal, valid_channels, valid_user
from tornado_sse.errors import AuthFailure, Forbidden, Unauthorized, Unavailable
from tornado_sse.keys import Key, KeyRing

RFC_6750 = re.compile(r'Bearer realm="tornado_sse", error="invalid_token", error_description="[ !#-\[\]-~]+"')


class CountingRing(KeyRing):
    """Counts the signatures checked, and plays a change of keys."""

    version = 0

    def __init__(self, secret: str) -> None:
        super().__init__(secret=secret)
        self.checked = 0

    async def verify(self, alg: str, kid: str | None, text: bytes, signature: bytes) -> None:
        self.checked += 1
        await super().verify(alg, kid, text, signature)


class EmptySource:
    version = 0

    def at_hand(self, _alg: str, _kid: str | None) -> list[Key]:
        return []

    async def renew(self) -> None:
        raise Unavailable("no keys yet")


def authenticator(ring: KeyRing | None = None, *, leeway: float = LEEWAY, clock: Clock | None = None) -> Authenticator:
    return Authenticator(ring or KeyRing(secret=SECRET), leeway=leeway, clock=clock or Clock())


def choosy() -> Authenticator:
    return Authenticator(KeyRing(secret=SECRET), issuer=ISSUER, audience=AUDIENCE, clock=Clock())


def failure(guard: Authenticator, text: str, *, reuse: bool = False) -> AuthFailure | None:
    """Why a token is refused, or None; any refusal is one of RFC 6750 that tells nothing of the token."""
    try:
        at_once(guard.verify(text, reuse=reuse))
    except Unauthorized as error:
        refused = error
    else:
        return None
    assert refused.status == 401
    assert RFC_6750.fullmatch(refused.headers["WWW-Authenticate"])
    assert refused.__cause__ is None
    return refused.failure


def rows(table: dict[AuthFailure, dict[str, Callable[[], str]]]) -> list[object]:
    return [
        pytest.param(make, why, id=f"{why}: {name}") for why, tokens in table.items() for name, make in tokens.items()
    ]


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Authenticator:
    """Knows a key of every kind, so that a bad token has every chance to pass."""
    folder = tmp_path_factory.mktemp("keys")
    return authenticator(KeyRing(secret=SECRET, key_files=[pem_file(folder, name) for name in ("rsa", "ec", "ed")]))


@pytest.mark.parametrize(("make", "why"), rows(BAD))
def test_a_bad_token_is_refused_for_what_is_wrong(
    guard: Authenticator, make: Callable[[], str], why: AuthFailure
) -> None:
    assert failure(guard, make()) is why
    assert failure(guard, make(), reuse=True) is why


@pytest.mark.parametrize(("make", "why"), rows(FOREIGN))
def test_a_token_from_or_for_somebody_else_is_refused(make: Callable[[], str], why: AuthFailure) -> None:
    assert failure(choosy(), make()) is why


@pytest.mark.parametrize("audience", [AUDIENCE, [AUDIENCE], [], None])
def test_a_token_for_anybody_named_is_refused_where_no_audience_is_configured(audience: object) -> None:
    """RFC 7519 section 4.1.3: who doesn't find itself in `aud` must reject."""
    assert failure(authenticator(), raw(payload=claims() | {"aud": audience})) is AuthFailure.AUDIENCE


@pytest.mark.parametrize("audience", [AUDIENCE, [AUDIENCE], ["other", AUDIENCE]])
def test_the_right_issuer_and_audience_pass(audience: object) -> None:
    assert failure(choosy(), token(iss=ISSUER, aud=audience)) is None


def test_any_issuer_passes_where_none_is_configured() -> None:
    assert failure(authenticator(), token(iss="whoever")) is None


@pytest.mark.parametrize("name", [None, "rsa", "ec", "ed"])
def test_a_good_token_tells_who_is_asking(guard: Authenticator, name: str | None) -> None:
    text = token(name, sid="s1", scope="subscribe publish", channels=["news", "team.*"])
    assert at_once(guard.verify(text)) == Principal(
        user="u1",
        session="s1",
        scopes=frozenset({Scope.SUBSCRIBE, Scope.PUBLISH}),
        channels=("news", "team.*"),
        expires_at=NOW + 60,
    )


@pytest.mark.parametrize("typ", ["JWT", "jwt", "at+jwt", "application/at+jwt"])
def test_the_types_of_bearer_tokens_pass(typ: str) -> None:
    assert failure(authenticator(), of_type(typ)) is None


@pytest.mark.parametrize(
    ("scope", "granted"),
    [
        (None, {Scope.SUBSCRIBE}),
        ("", set()),
        ([], set()),
        ("publish", {Scope.PUBLISH}),
        ("admin sessions", {Scope.ADMIN, Scope.SESSIONS}),
        (["subscribe", "publish"], {Scope.SUBSCRIBE, Scope.PUBLISH}),
        ("openid publish email", {Scope.PUBLISH}),
        ("PUBLISH publish:all", set()),
        ("publish\tadmin", set()),
    ],
)
def test_only_the_scopes_that_are_named_are_granted(scope: object, granted: set[Scope]) -> None:
    assert at_once(authenticator().verify(token(scope=scope))).scopes == granted


def test_the_limits_themselves_pass() -> None:
    text = token(sub="u" * 256, sid="s" * 1024, channels=["c" * 10] * 256, exp=NOW + 60, nbf=NOW + LEEWAY, iat=0)
    principal = at_once(authenticator().verify(text))
    assert (len(principal.user), len(principal.session or ""), len(principal.channels)) == (256, 1024, 256)


def test_any_script_may_name_a_user_and_a_channel() -> None:
    principal = at_once(authenticator().verify(token(sub="Ünal 😀", channels=["новости"])))
    assert (principal.user, principal.channels) == ("Ünal 😀", ("новости",))
    assert valid_user("用户")
    assert not valid_user("用户\x85")
    assert valid_channels(["новости"])


def test_time_is_judged_by_the_clock_and_the_leeway() -> None:
    clock = Clock()
    guard = authenticator(clock=clock)
    text = token(exp=NOW + 60, nbf=NOW + 30)
    for after, why in {
        0: AuthFailure.NOT_YET_VALID,
        24.9: AuthFailure.NOT_YET_VALID,
        25: None,
        60: None,
        64.9: None,
        65: AuthFailure.EXPIRED,
        1000: AuthFailure.EXPIRED,
    }.items():
        clock.now = NOW + after
        assert failure(guard, text) is why
        assert failure(guard, text, reuse=True) is why


def test_without_leeway_the_very_second_counts() -> None:
    guard = authenticator(leeway=0)
    assert failure(guard, token(exp=NOW)) is AuthFailure.EXPIRED
    assert failure(guard, token(exp=NOW + 0.001, nbf=NOW, iat=NOW)) is None


def test_a_remembered_token_is_not_verified_again_but_its_time_is_checked() -> None:
    ring, clock = CountingRing(SECRET), Clock()
    guard = authenticator(ring, clock=clock)
    text = token(nbf=NOW)
    for _ in range(3):
        assert failure(guard, text, reuse=True) is None
    assert ring.checked == 1
    clock.now = NOW - 60
    assert failure(guard, text, reuse=True) is AuthFailure.NOT_YET_VALID
    clock.now = NOW
    assert failure(guard, text, reuse=True) is None
    clock.now = NOW + 120
    assert failure(guard, text, reuse=True) is AuthFailure.EXPIRED


def test_only_who_asks_for_it_gets_a_remembered_token() -> None:
    ring = CountingRing(SECRET)
    guard = authenticator(ring)
    for reuse in (False, True, False):
        assert failure(guard, token(), reuse=reuse) is None
    assert ring.checked == 3


def test_a_refused_token_is_not_remembered() -> None:
    ring = CountingRing(OTHER_SECRET)
    guard = authenticator(ring)
    for _ in range(2):
        assert failure(guard, token(), reuse=True) is AuthFailure.SIGNATURE
    assert ring.checked == 2


def test_the_token_not_used_for_longest_is_forgotten_first() -> None:
    ring = CountingRing(SECRET)
    guard = authenticator(ring)
    texts = [token(jti=str(number)) for number in range(1025)]
    for text in (*texts[:1024], texts[0], texts[1024]):
        assert failure(guard, text, reuse=True) is None
    assert ring.checked == 1025
    assert failure(guard, texts[0], reuse=True) is None
    assert ring.checked == 1025
    assert failure(guard, texts[1], reuse=True) is None
    assert ring.checked == 1026


def test_remembered_tokens_are_not_shared_with_a_new_authenticator() -> None:
    ring = CountingRing(SECRET)
    assert failure(authenticator(ring), token(), reuse=True) is None
    assert failure(authenticator(ring), token(), reuse=True) is None
    assert ring.checked == 2


def test_new_keys_judge_remembered_tokens_anew() -> None:
    assert failure(authenticator(), token(), reuse=True) is None
    renewed = authenticator(KeyRing(secret=OTHER_SECRET))
    assert failure(renewed, token(), reuse=True) is AuthFailure.SIGNATURE


def test_a_change_of_the_key_set_makes_remembered_tokens_be_verified_again() -> None:
    """Else a key that its issuer took back would go on working for who was quick."""
    ring = CountingRing(SECRET)
    guard = authenticator(ring)
    for version in (0, 0, 1, 1):
        ring.version = version
        assert failure(guard, token(), reuse=True) is None
    assert ring.checked == 2


def test_without_any_keys_yet_it_is_not_the_token_that_is_refused() -> None:
    with pytest.raises(Unavailable):
        at_once(authenticator(KeyRing(jwks=EmptySource())).verify(token("ec")))


def test_a_principal_may_do_what_its_scopes_say() -> None:
    principal = Principal("u1", None, frozenset({Scope.PUBLISH}), (), NOW)
    principal.require(Scope.PUBLISH)
    with pytest.raises(Forbidden) as caught:
        principal.require(Scope.ADMIN)
    assert caught.value.failure is AuthFailure.SCOPE
    challenge = caught.value.headers["WWW-Authenticate"]
    assert challenge.startswith('Bearer realm="tornado_sse", error="insufficient_scope"')
    assert challenge.endswith(', scope="admin"')


def test_a_principal_ends_at_its_expiry_or_with_the_leeway_it_lives_on() -> None:
    principal = Principal("u1", None, frozenset(), (), NOW)
    assert principal.ends_at(NOW - 1, LEEWAY) == NOW
    assert principal.ends_at(NOW, LEEWAY) == NOW + LEEWAY
    assert principal.ends_at(NOW + 1, LEEWAY) == NOW + LEEWAY


@pytest.mark.parametrize("header", [None, "", "Basic dTpw", "Bearerx abc", "Bearer-x abc", " Bearer abc", "Digest a=b"])
def test_no_bearer_scheme_means_no_token(header: str | None) -> None:
    assert bearer_token(header) is None


@pytest.mark.parametrize(
    "header", ["Bearer aA0-._~+/==", "bearer aA0-._~+/==", "BEARER aA0-._~+/==", "Bearer   aA0-._~+/==  "]
)
def test_a_bearer_token_is_taken_out(header: str) -> None:
    assert bearer_token(header) == "aA0-._~+/=="


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer a b",
        "Bearer a,b",
        "Bearer a, Bearer b",
        "Bearer,Basic a",
        'Bearer "a"',
        "Bearer a=b",
        "Bearer =",
        "Bearer\ta",
        "Bearer a\n",
        "Bearer é",
        "Bearer \u017f",
        "Bearer a;b",
        "Bearer/a",
    ],
)
def test_a_bearer_scheme_without_one_legal_token_is_malformed(header: str) -> None:
    with pytest.raises(Unauthorized) as caught:
        bearer_token(header)
    assert caught.value.failure is AuthFailure.MALFORMED
    assert RFC_6750.fullmatch(caught.value.headers["WWW-Authenticate"])


@given(st.text(alphabet=st.characters(codec="ascii"), min_size=1, max_size=20))
def test_no_header_makes_it_fail_otherwise(rest: str) -> None:
    try:
        found = bearer_token("Bearer " + rest)
    except Unauthorized:
        return
    assert found == rest.strip(" ")


@given(st.data())
def test_no_other_text_passes_for_a_token(data: st.DataObject) -> None:
    text = token()
    place = data.draw(st.integers(0, len(text) - 1))
    char = data.draw(st.characters() | st.sampled_from("AaZz09-_."))
    other = data.draw(
        st.sampled_from([text[:place] + char + text[place + 1 :], text[:place] + char + text[place:], text[:place]])
    )
    assert (failure(authenticator(), other) is None) == (other == text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["sub", "exp", "nbf", "iat", "aud", "sid", "scope", "channels"]), JSON))
def test_whatever_claims_are_signed_what_passes_here_passes_with_pyjwt(changes: dict[str, Any]) -> None:
    """The widely used reader is the second opinion; its clock is the real one, so times are not compared."""
    text = raw(payload=claims() | changes)
    if failure(authenticator(leeway=1e20), text) is None:
        options: jwt.types.Options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
        assert jwt.decode(text, SECRET, algorithms=["HS256"], options=options)["sub"]


def test_claims_may_be_read_by_who_verified_them() -> None:
    assert read_principal(claims()).user == "u1"
    with pytest.raises(Unauthorized):
        read_principal({})

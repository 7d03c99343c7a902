import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jwt_support import NOW, SECRET, b64, claims, raw, token, with_header
from tornado_sse.errors import AuthFailure, Unauthorized
from tornado_sse.keys import KeyProblem
from tornado_sse.tokens import TOKEN_CHARS, parse, sign


def decoded(text: str, audience: str | None = None) -> object:
    options: jwt.types.Options = {"verify_exp": False, "verify_iat": False}
    return jwt.decode(text, SECRET, algorithms=["HS256"], audience=audience, options=options)


def problem(text: str) -> AuthFailure | None:
    try:
        parse(text).claims()
    except Unauthorized as refused:
        return refused.failure
    return None


def test_a_signed_token_says_who_and_until_when() -> None:
    text = sign(SECRET, user="u1", ttl=60, now=NOW)
    assert decoded(text) == {"sub": "u1", "iat": NOW, "exp": NOW + 60}
    assert jwt.get_unverified_header(text) == {"alg": "HS256", "typ": "JWT"}


def test_a_signed_token_holds_all_that_is_given() -> None:
    text = sign(
        SECRET,
        user="u1",
        ttl=0.5,
        now=NOW,
        session="s1",
        channels=["news", "team.*"],
        scopes=["publish", "sessions"],
        issuer="me",
        audience="you",
    )
    assert decoded(text, "you") == {
        "sub": "u1",
        "iat": NOW,
        "exp": NOW + 0.5,
        "sid": "s1",
        "channels": ["news", "team.*"],
        "scope": "publish sessions",
        "iss": "me",
        "aud": "you",
    }


def test_a_short_secret_signs_nothing() -> None:
    with pytest.raises(KeyProblem, match="31 bytes; at least 32"):
        sign("s" * 31, user="u1", ttl=60, now=NOW)


def test_a_token_comes_apart() -> None:
    text = token(headers={"kid": "k1"})
    parts = parse(text)
    assert (parts.alg, parts.kid, parts.typ) == ("HS256", "k1", "jwt")
    assert parts.claims() == claims()
    assert f"{parts.text.decode()}.{b64(parts.signature)}" == text


def test_a_token_need_not_have_a_key_id_nor_a_type() -> None:
    parts = parse(raw())
    assert (parts.kid, parts.typ) == (None, "jwt")


@pytest.mark.parametrize(
    ("typ", "read"),
    [("JWT", "jwt"), ("at+JWT", "at+jwt"), ("application/at+jwt", "at+jwt"), ("Application/JWT", "jwt"), ("x", "x")],
)
def test_a_type_is_read_without_regard_to_case_and_prefix(typ: str, read: str) -> None:
    assert parse(with_header(typ=typ)).typ == read


def test_the_longest_token_is_read_and_a_longer_one_is_not() -> None:
    def filled(size: int) -> str:
        return raw(payload=b"x" * size)

    sizes = {len(filled(size)): filled(size) for size in range(6050, 6120)}
    longest = max(size for size in sizes if size <= TOKEN_CHARS)
    assert longest >= TOKEN_CHARS - 1
    assert len(parse(sizes[longest]).payload) > 6000
    with pytest.raises(Unauthorized, match="too long"):
        parse(next(text for size, text in sizes.items() if size > TOKEN_CHARS))


@pytest.mark.parametrize("payload", ["[]", "1", "null", '"x"', "{", "", '{"a":1,"a":2}', '{"a":NaN}', b"\xff{}"])
def test_claims_that_are_no_json_object_are_malformed(payload: str | bytes) -> None:
    with pytest.raises(Unauthorized) as caught:
        parse(raw(payload=payload)).claims()
    assert caught.value.failure is AuthFailure.MALFORMED


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize("tail", ["=", "+", "/", "é", " ", "\n", ".e30"])
def test_a_token_has_one_spelling(part: int, tail: str) -> None:
    """Else one token could pass for many, in a list of revoked ones for example."""
    parts = ["e30", "e30", "e30"]
    parts[part] += tail
    with pytest.raises(Unauthorized) as caught:
        parse(".".join(parts))
    assert caught.value.failure is AuthFailure.MALFORMED


@pytest.mark.parametrize("stray", ["e31", "e3", "e", "e30AA"])
def test_stray_bits_at_the_end_are_malformed(stray: str) -> None:
    for text in (f"{b64({'alg': 'HS256'})}.{stray}.e30", f"{b64({'alg': 'HS256'})}.e30.{stray}"):
        with pytest.raises(Unauthorized, match="base64url without padding"):
            parse(text)


@given(st.text() | st.text(alphabet="eyJ._-=0aZ", max_size=60))
def test_no_text_makes_reading_fail_otherwise(text: str) -> None:
    assert problem(text) in {None, AuthFailure.MALFORMED, AuthFailure.ALGORITHM}


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_no_header_makes_reading_fail_otherwise(value: object) -> None:
    for name in ("alg", "kid", "typ", "crit", "b64", "jwk", "jku"):
        assert problem(with_header(**{name: value})) in {None, AuthFailure.MALFORMED, AuthFailure.ALGORITHM}

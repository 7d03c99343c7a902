from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from jwt_support import OTHER_SECRET, SECRET, at_once, b64, pem_file, private_key, private_pem, public_pem, token
from tornado_sse.errors import AuthFailure, Unauthorized, Unavailable
from tornado_sse.keys import ALGORITHMS, Key, KeyProblem, KeyRing, public_key, read_pem, secret_key
from tornado_sse.tokens import parse

TEXT = b"what is signed"


class Source:
    """A changing set of keys, without a server."""

    def __init__(self, *keys: Key, next_keys: Sequence[Key] | None = None) -> None:
        self.version = 0
        self.keys: Sequence[Key] = keys
        self.next_keys = next_keys
        self.renewed = 0

    def at_hand(self, alg: str, kid: str | None) -> list[Key]:
        return [key for key in self.keys if key.alg == alg and (kid is None or key.kid in {None, kid})]

    async def renew(self) -> None:
        self.renewed += 1
        if self.next_keys is None:
            raise Unavailable("no keys")
        self.keys = self.next_keys
        self.version += 1


def named(name: str, kid: str | None) -> Key:
    return public_key(private_key(name).public_key(), kid)


def check(ring: KeyRing, text: str) -> AuthFailure | None:
    """How the ring refuses a token, or None."""
    parts = parse(text)
    try:
        at_once(ring.verify(parts.alg, parts.kid, parts.text, parts.signature))
    except Unauthorized as refused:
        return refused.failure
    return None


def test_a_secret_verifies_hs256_whatever_the_key_id() -> None:
    ring = KeyRing(secret=SECRET)
    assert ring.algorithms == {"HS256"}
    assert check(ring, token()) is None
    assert check(ring, token(headers={"kid": "any"})) is None
    assert check(KeyRing(secret=OTHER_SECRET), token()) is AuthFailure.SIGNATURE


@pytest.mark.parametrize(("name", "alg"), [("rsa", "RS256"), ("ec", "ES256"), ("ed", "EdDSA")])
def test_a_public_key_verifies_the_one_algorithm_of_its_type(tmp_path: Path, name: str, alg: str) -> None:
    ring = KeyRing(key_files=[pem_file(tmp_path, name)])
    assert ring.algorithms == {alg}
    assert check(ring, token(name)) is None
    assert check(ring, token(f"{name}-2")) is AuthFailure.SIGNATURE
    assert check(ring, token()) is AuthFailure.ALGORITHM


def test_each_key_of_the_algorithm_is_tried(tmp_path: Path) -> None:
    ring = KeyRing(key_files=[pem_file(tmp_path, name) for name in ("ec", "rsa", "rsa-2", "ed")], secret=SECRET)
    assert ring.algorithms == set(ALGORITHMS)
    for name in ("rsa", "rsa-2", "ec", "ed", None):
        assert check(ring, token(name)) is None


def test_the_allow_list_decides(tmp_path: Path) -> None:
    files = [pem_file(tmp_path, "ec")]
    ring = KeyRing(secret=SECRET, key_files=files, algorithms=["ES256"])
    assert check(ring, token("ec")) is None
    assert check(ring, token()) is AuthFailure.ALGORITHM
    with pytest.raises(KeyProblem, match=r"ec\.pem: this key is for ES256, which is not among"):
        KeyRing(secret=SECRET, key_files=files, algorithms=["HS256", "RS256"])


@pytest.mark.parametrize("algorithm", ["none", "HS512", "hs256", "PS256", ""])
def test_an_unknown_algorithm_is_named(algorithm: str) -> None:
    with pytest.raises(KeyProblem, match=f"unknown algorithm {algorithm}; HS256, RS256, ES256, EdDSA are known"):
        KeyRing(secret=SECRET, algorithms=["HS256", algorithm])


def test_a_ring_without_keys_is_refused() -> None:
    for ring in ({}, {"secret": SECRET, "algorithms": ["RS256"]}, {"jwks": Source(), "algorithms": ["HS256"]}):
        with pytest.raises(KeyProblem, match="there is no key"):
            KeyRing(**ring)


def test_secrets_are_judged() -> None:
    assert secret_key("x" * 32).alg == "HS256"
    assert secret_key("é" * 16).material == ("é" * 16).encode()
    for secret, problem in {
        "": "0 bytes",
        "x" * 31: "31 bytes; at least 32",
        "x" * 40 + "\ud800": "not valid UTF-8",
        public_pem("ec").decode(): "a public key",
        '{"kty": "oct", "k": "c2VjcmV0LCBidXQgaW4gYSBKV0s"}': "or a JWK",
    }.items():
        with pytest.raises(KeyProblem, match=problem):
            KeyRing(secret=secret)


def test_a_key_does_not_show_its_secret() -> None:
    assert SECRET not in repr(secret_key(SECRET))


def certificate() -> bytes:
    key = private_key("ec")
    assert isinstance(key, EllipticCurvePrivateKey)
    name = x509.Name([])
    start, end = (datetime(year, 1, 1, tzinfo=UTC) for year in (2020, 2040))
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, end)
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    ("pem", "problem"),
    [
        (lambda: private_pem("ec"), "private key; public key wanted"),
        (lambda: public_pem("ec") + private_pem("ec"), "private key; public key wanted"),
        (lambda: public_pem("ec") + public_pem("ed"), "exactly one PEM public key"),
        (lambda: b"", "exactly one PEM public key"),
        (lambda: b"\x00\xff\x80", "exactly one PEM public key"),
        (lambda: b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no PEM public key that can be read"),
        (lambda: b"-----BEGIN PUBLIC KEY-----\n", "no PEM public key that can be read"),
        (certificate, "no PEM public key that can be read"),
        (lambda: public_pem("rsa-small"), "an RSA key of 1024 bits; 2048 to 8192 are wanted"),
        (lambda: public_pem("ec-p384"), "an EC key on secp384r1; P-256 is wanted"),
        (lambda: public_pem("ed448"), "neither an RSA, an EC P-256 nor an Ed25519 public key"),
    ],
)
def test_a_file_that_holds_no_usable_key_is_named_with_its_problem(
    tmp_path: Path, pem: Callable[[], bytes], problem: str
) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(pem())
    with pytest.raises(KeyProblem, match=rf"key\.pem: .*{problem}"):
        KeyRing(key_files=[path])


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyProblem, match=r"gone\.pem: can't be read: No such file"):
        read_pem(tmp_path / "gone.pem")
    with pytest.raises(KeyProblem, match="can't be read: Is a directory"):
        read_pem(tmp_path)


@given(st.binary(max_size=600))
def test_no_signature_makes_a_key_fail_otherwise(signature: bytes) -> None:
    for key in (secret_key(SECRET), *(named(name, None) for name in ("rsa", "ec", "ed"))):
        assert not key.signed(TEXT, signature)


def test_the_signature_of_an_elliptic_curve_has_one_length() -> None:
    """DER and padded forms would be second spellings of a signature."""
    parts = parse(token("ec", {"kid": "k1"}))
    ring = KeyRing(jwks=Source(named("ec", "k1")))
    for signature in (parts.signature + b"\0", b"\0" + parts.signature, parts.signature[:-1]):
        assert check(ring, f"{parts.text.decode()}.{b64(signature)}") is AuthFailure.SIGNATURE


def test_a_key_of_the_url_is_found_by_its_id() -> None:
    source = Source(named("ec", "k1"), named("ec-2", "k2"))
    ring = KeyRing(jwks=source)
    assert ring.algorithms == {"RS256", "ES256", "EdDSA"}
    assert check(ring, token("ec", {"kid": "k1"})) is None
    assert check(ring, token("ec-2", {"kid": "k2"})) is None
    assert check(ring, token("ec-2", {"kid": "k1"})) is AuthFailure.SIGNATURE
    assert source.renewed == 0


def test_without_an_id_every_key_of_the_algorithm_is_tried() -> None:
    ring = KeyRing(jwks=Source(named("rsa", "k0"), named("ec", "k1"), named("ec-2", None), next_keys=[]))
    assert check(ring, token("ec")) is None
    assert check(ring, token("ec-2")) is None
    assert check(ring, token("ec-2", {"kid": "k9"})) is None


def test_an_unknown_id_makes_the_ring_look_for_newer_keys() -> None:
    source = Source(named("ec", "k1"), next_keys=[named("ec", "k1"), named("ec-2", "k2")])
    ring = KeyRing(jwks=source)
    assert ring.version == 0
    assert check(ring, token("ec-2", {"kid": "k2"})) is None
    assert source.renewed == 1
    assert ring.version == 1
    assert check(ring, token("rsa", {"kid": "k3"})) is AuthFailure.UNKNOWN_KEY
    assert check(ring, token("ec", {"kid": "k3"})) is AuthFailure.UNKNOWN_KEY


def test_a_rotation_without_ids_is_noticed_too() -> None:
    ring = KeyRing(jwks=Source(named("ec", None), next_keys=[named("ec-2", None)]))
    assert check(ring, token("ec-2")) is None
    assert check(ring, token("ec")) is AuthFailure.SIGNATURE


def test_without_any_keys_yet_the_answer_is_not_now() -> None:
    with pytest.raises(Unavailable):
        check(KeyRing(jwks=Source()), token("ec"))


def test_a_secret_and_files_need_no_url(tmp_path: Path) -> None:
    source = Source()
    ring = KeyRing(secret=SECRET, key_files=[pem_file(tmp_path, "ec")], jwks=source)
    assert check(ring, token("ec")) is None
    assert check(ring, token()) is None
    assert source.renewed == 0


def test_a_wrong_hs256_signature_never_asks_the_url() -> None:
    source = Source()
    ring = KeyRing(secret=OTHER_SECRET, jwks=source)
    assert check(ring, token(headers={"kid": "k9"})) is AuthFailure.SIGNATURE
    assert source.renewed == 0


def test_hs256_is_not_for_the_keys_of_a_url() -> None:
    assert check(KeyRing(jwks=Source()), token()) is AuthFailure.ALGORITHM


def test_a_ring_of_fixed_keys_has_one_version() -> None:
    assert KeyRing(secret=SECRET).version == 0

"""The keys that verify tokens, each bound to the one algorithm that its type allows (RFC 8725 sections 3.1 and 3.2).

What a token's header says only chooses among these; it never brings a key of its own (`jwk`, `jku`, `x5u` go unread).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt import InvalidKeyError, PyJWS

from tornado_sse.errors import AuthFailure, Unauthorized

ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")
SECRET_BYTES = 32  # RFC 7518 section 3.2: at least the size of the hash
RSA_BITS = range(2048, 8192 + 1)  # RFC 7518 section 3.3 sets the least; past the most one check takes milliseconds

_JWS = PyJWS(algorithms=ALGORITHMS)
_IMPLEMENTATIONS = {name: _JWS.get_algorithm_by_name(name) for name in ALGORITHMS}


class KeyProblem(ValueError):
    """A key that can't be used; the message says which and why, and never shows a secret."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key and the one algorithm it verifies. `kid` None: the key has no name and fits any token of its algorithm."""

    alg: str
    kid: str | None
    material: Any = field(repr=False)

    def signed(self, text: bytes, signature: bytes) -> bool:
        """Tell whether `signature` was made over `text` with this key."""
        return bool(_IMPLEMENTATIONS[self.alg].verify(text, self.material, signature))


def secret_key(secret: str | bytes) -> Key:
    """Make an HS256 key of a secret of at least 32 bytes (as UTF-8); raises KeyProblem."""
    try:
        material = secret.encode() if isinstance(secret, str) else secret
        if len(material) < SECRET_BYTES:
            raise KeyProblem(f"the secret has {len(material)} bytes; at least {SECRET_BYTES} are wanted")
        return Key("HS256", None, _IMPLEMENTATIONS["HS256"].prepare_key(material))
    except UnicodeEncodeError:
        raise KeyProblem("the secret is not valid UTF-8") from None
    except InvalidKeyError:
        raise KeyProblem("the secret is a public key, a certificate or a JWK; random text is wanted") from None


def public_key(material: object, kid: str | None = None) -> Key:
    """Bind a public key to its algorithm: RSA to RS256, EC P-256 to ES256, Ed25519 to EdDSA; raises KeyProblem."""
    match material:
        case RSAPublicKey(key_size=bits):
            if bits not in RSA_BITS:
                raise KeyProblem(f"an RSA key of {bits} bits; {RSA_BITS[0]} to {RSA_BITS[-1]} are wanted")
            return Key("RS256", kid, material)
        case EllipticCurvePublicKey(curve=curve):
            if not isinstance(curve, SECP256R1):
                raise KeyProblem(f"an EC key on {curve.name}; P-256 is wanted")
            return Key("ES256", kid, material)
        case Ed25519PublicKey():
            return Key("EdDSA", kid, material)
    raise KeyProblem("neither an RSA, an EC P-256 nor an Ed25519 public key")


def read_pem(path: Path) -> Key:
    """Read the one public key in a PEM file; raises KeyProblem naming the file."""
    try:
        pem = path.read_bytes()
    except OSError as problem:
        raise KeyProblem(f"{path}: can't be read: {problem.strerror}") from None
    try:
        return _from_pem(pem)
    except KeyProblem as problem:
        raise KeyProblem(f"{path}: {problem}") from None


def _from_pem(pem: bytes) -> Key:
    if b"PRIVATE KEY-----" in pem:
        raise KeyProblem("this is a private key; public key wanted")
    if pem.count(b"-----BEGIN ") != 1:
        raise KeyProblem("exactly one PEM public key is wanted in a file")
    try:
        return public_key(load_pem_public_key(pem))
    except (UnsupportedAlgorithm, ValueError) as problem:
        if isinstance(problem, KeyProblem):
            raise
        raise KeyProblem("this is no PEM public key that can be read") from None


class KeySource(Protocol):
    """What a KeyRing asks of a set of keys that is kept elsewhere and changes (see Jwks)."""

    @property
    def version(self) -> int:
        """Grows with every change of the set; never waits."""

    def at_hand(self, alg: str, kid: str | None) -> Sequence[Key]:
        """Give the known keys that may have signed a token with this header; never waits."""

    async def renew(self) -> None:
        """Look for newer keys, within limits of rate and time; raises Unavailable if there are still none at all."""


class KeyRing:
    """All keys of one configuration. To reload, build another one, with the same `jwks` so that its cache stays.

    `secret` verifies HS256, where that is allowed (it may have other uses); `key_files` are PEM public keys, tried in
    order; `jwks` gives the keys of a JWKS URL. `algorithms` is the allow-list; what no key serves is refused as well.
    Raises KeyProblem for a key that can't be used, a file whose algorithm isn't allowed, and when no key is left.
    """

    def __init__(
        self,
        *,
        secret: str | None = None,
        key_files: Iterable[Path] = (),
        algorithms: Iterable[str] = ALGORITHMS,
        jwks: KeySource | None = None,
    ) -> None:
        allowed = _known(algorithms)
        self._jwks = jwks
        self._fixed: dict[str, list[Key]] = {}
        for path in key_files:
            self._add(_useful(path, allowed))
        if secret is not None and "HS256" in allowed:
            self._add(secret_key(secret))
        self._remote = allowed - {"HS256"} if jwks else frozenset[str]()  # a public document never holds a secret
        self.algorithms = self._remote | self._fixed.keys()
        if not self.algorithms:
            raise KeyProblem("there is no key: a secret (HS256), PEM public keys or a JWKS URL is wanted")

    def _add(self, key: Key) -> None:
        self._fixed.setdefault(key.alg, []).append(key)

    @property
    def version(self) -> int:
        """Grows when a key that was good may be so no more."""
        return self._jwks.version if self._jwks else 0

    async def verify(self, alg: str, kid: str | None, text: bytes, signature: bytes) -> None:
        """Find a key that signed `text`; doesn't suspend if it is at hand.

        Raises Unauthorized (ALGORITHM, UNKNOWN_KEY, SIGNATURE), or Unavailable while a JWKS URL has given no keys yet.
        """
        if alg not in self.algorithms:
            raise Unauthorized(AuthFailure.ALGORITHM, "the algorithm of the token is not accepted")
        keys = self._at_hand(alg, kid)
        if _any_signed(keys, text, signature):
            return
        if self._jwks and alg in self._remote and not _named(keys, kid):
            await self._jwks.renew()
            newer = [key for key in self._at_hand(alg, kid) if key not in keys]
            if _any_signed(newer, text, signature):
                return
            keys = keys + newer
        if not keys:
            raise Unauthorized(AuthFailure.UNKNOWN_KEY, "the key that signed the token is not known")
        raise Unauthorized(AuthFailure.SIGNATURE, "the signature of the token is wrong")

    def _at_hand(self, alg: str, kid: str | None) -> list[Key]:
        fixed = self._fixed.get(alg, [])
        return [*fixed, *self._jwks.at_hand(alg, kid)] if self._jwks and alg in self._remote else fixed


def _any_signed(keys: Iterable[Key], text: bytes, signature: bytes) -> bool:
    for key in keys:  # noqa: SIM110 - a generator takes longer than the signature
        if key.signed(text, signature):
            return True
    return False


def _named(keys: Iterable[Key], kid: str | None) -> bool:
    return kid is not None and any(key.kid == kid for key in keys)


def _known(algorithms: Iterable[str]) -> frozenset[str]:
    allowed = frozenset(algorithms)
    if unknown := sorted(allowed.difference(ALGORITHMS)):
        raise KeyProblem(f"unknown algorithm {unknown[0]}; {', '.join(ALGORITHMS)} are known")
    return allowed


def _useful(path: Path, allowed: frozenset[str]) -> Key:
    key = read_pem(path)
    if key.alg not in allowed:
        raise KeyProblem(f"{path}: this key is for {key.alg}, which is not among the algorithms allowed")
    return key

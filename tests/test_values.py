"""The values that settings take: what is let through, and how the rest is refused."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from tornado_sse import values

PEM = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
"""


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (values.Secret, "x" * 32),
        (values.Url, "https://issuer.example/keys"),
        (values.Origin, "https://app.example.com"),
        (values.Origin, "http://localhost:3000"),
        (values.Network, "10.0.0.0/8"),
        (values.Network, "::1"),
        (values.CookieName, "__Host-sse"),
        (values.CookieName, ""),
    ],
)
def test_is_let_through(kind: Any, value: str) -> None:
    TypeAdapter[object](kind).validate_python(value)


def test_a_public_key_is_let_through(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text(PEM)
    assert TypeAdapter[object](values.KeyFile).validate_python(file) == file


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (values.Secret, "short", "at least 32"),
        (values.KeyFile, "/nowhere.pem", "can't be read"),
        (values.Url, "ftp://issuer.example", "http:// or https://"),
        (values.Origin, "*", "exact origin"),
        (values.Origin, "https://app.example.com/", "no path"),
        (values.Origin, "https://app.example.com:443", "no default port"),
        (values.Network, "10.0.0.1/8", "without host bits"),
        (values.CookieName, "a b", "cookie name"),
    ],
)
def test_is_refused(kind: Any, value: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        TypeAdapter[object](kind).validate_python(value)

import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from cli_support import SECRET, invoke


def claims(token: str, audience: str | None = None) -> dict[str, Any]:
    return jwt.decode(token, SECRET, algorithms=["HS256"], audience=audience)


def test_prints_the_token_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    result = invoke("token", "--user", "u1", TORNADO_SSE_JWT_SECRET=SECRET)
    assert result.exit_code == 0
    assert result.stderr == ""
    (token,) = result.stdout.splitlines()
    assert claims(token) == {"sub": "u1", "iat": now, "exp": now + 3600}


def test_everything_that_is_asked_for_is_in_it(tmp_path: Path) -> None:
    file = tmp_path / "sse.toml"
    file.write_text(f'jwt_secret = "{SECRET}"\njwt_issuer = "me"\njwt_audience = "them"\n')
    channels = ["--channel", "a", "--channel", "b.*"]
    scopes = ["--scope", "publish", "--scope", "sessions"]
    asked = ["--user", "u1", "--session", "s1", *channels, *scopes, "--ttl", "90"]
    result = invoke("token", "--config", str(file), *asked)
    found = claims(result.stdout.strip(), audience="them")
    assert found["exp"] - found["iat"] == pytest.approx(90)
    assert {name: value for name, value in found.items() if name not in ("exp", "iat")} == {
        "sub": "u1",
        "sid": "s1",
        "channels": ["a", "b.*"],
        "scope": "publish sessions",
        "iss": "me",
        "aud": "them",
    }


def test_without_a_secret_it_says_what_to_set() -> None:
    result = invoke("token", "--user", "u1")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "TORNADO_SSE_JWT_SECRET" in result.stderr


def test_the_secret_may_be_a_flag() -> None:
    assert claims(invoke("token", "--user", "u1", "--jwt-secret", SECRET).stdout.strip())["sub"] == "u1"


@pytest.mark.parametrize("args", [("--ttl", "0"), ("--ttl", "nan"), ("--ttl", "9" * 400), ("--jwt-secret", "short")])
def test_wrong_values_are_exit_code_2(args: tuple[str, str]) -> None:
    result = invoke("token", "--user", "u1", *args)
    assert result.exit_code == 2
    assert args[0] in result.stderr

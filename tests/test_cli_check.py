from pathlib import Path

from cli_support import SECRET, invoke
from tornado_sse.config import Settings


def test_prints_every_setting_with_where_it_came_from(tmp_path: Path) -> None:
    file = tmp_path / "sse.toml"
    file.write_text('allowed_origins = ["https://a.example", "https://b.example"]\n')
    result = invoke(
        "check", "--port", "1", "--config", str(file), TORNADO_SSE_JWT_SECRET=SECRET, TORNADO_SSE_QUERY_TOKEN="yes"
    )
    assert result.exit_code == 0
    lines = [line.split(maxsplit=3) for line in result.stdout.splitlines()]
    assert [name for name, *_ in lines] == list(Settings.model_fields)
    assert {equals for _, equals, *_ in lines} == {"="}
    assert ["port", "=", "1", "--port"] in lines
    assert ["host", "=", "127.0.0.1", "default"] in lines
    assert ["jwt_secret", "=", "(set)", "TORNADO_SSE_JWT_SECRET"] in lines
    assert ["query_token", "=", "true", "TORNADO_SSE_QUERY_TOKEN"] in lines
    assert ["allowed_origins", "=", "https://a.example,https://b.example", f"allowed_origins in {file}"] in lines
    assert SECRET not in result.output


def test_columns_are_aligned() -> None:
    lines = invoke("check", "--jwt-secret", SECRET).stdout.splitlines()
    assert len({line.index(" = ") for line in lines}) == 1
    assert len({line.rindex("  ") for line in lines}) == 1


def test_refused_settings_are_exit_code_2_with_the_problems() -> None:
    result = invoke("check", "--port", "x", "--retry", "x")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert [line.partition(":")[0] for line in result.stderr.splitlines()] == ["--port", "--retry"]


def test_without_a_key_it_prints_the_settings_and_exits_with_2() -> None:
    result = invoke("check")
    assert result.exit_code == 2
    assert "jwt_secret " in result.stdout
    assert "(not set)" in result.stdout
    assert "set TORNADO_SSE_JWT_SECRET" in result.stderr

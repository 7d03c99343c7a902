import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from tornado_sse import config
from tornado_sse.config import ConfigProblem, Settings, load

SECRET = "a secret for the tests, made of 40 bytes"


def problems(
    flags: Mapping[str, object] | None = None, file: Path | None = None, env: Mapping[str, str] | None = None
) -> list[str]:
    """What `load` refuses; names in `env` go without the prefix."""
    with pytest.raises(ConfigProblem) as caught:
        load(flags or {}, file, {f"TORNADO_SSE_{name.upper()}": value for name, value in (env or {}).items()})
    return str(caught.value).splitlines()


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return tmp_path / "sse.toml"


def test_defaults_are_those_that_are_documented() -> None:
    settings = Settings()
    assert (settings.host, settings.port, settings.admin_port) == ("127.0.0.1", 8080, 8081)
    assert (settings.keepalive, settings.outbox_bytes, settings.slow_policy) == (15, 262144, "disconnect")
    assert settings.jwt_secret is None
    assert settings.jwt_algorithms == ["HS256", "RS256", "ES256", "EdDSA"]


def test_settings_made_in_code_take_nothing_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORNADO_SSE_PORT", "1")
    monkeypatch.setenv("PORT", "1")
    settings = Settings(jwt_secret=SECRET)
    assert settings.port == 8080
    assert settings.jwt_secret == SecretStr(SECRET)


def test_settings_are_frozen_and_know_no_other_names() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1
    with pytest.raises(ValidationError, match="prot"):
        Settings(prot=1)


def test_flags_are_stronger_than_the_environment_and_that_than_the_file(toml: Path) -> None:
    toml.write_text("port = 1\nadmin_port = 1\nretry = 1\n")
    env = {"TORNADO_SSE_PORT": "2", "TORNADO_SSE_ADMIN_PORT": "2", "PATH": "/bin"}
    flags = {"port": "3", "host": None}
    settings = load(flags, toml, env)
    assert (settings.port, settings.admin_port, settings.retry) == (3, 2, 1)
    origins = config.origins(flags, toml, env)
    assert origins["port"] == "--port"
    assert origins["admin_port"] == "TORNADO_SSE_ADMIN_PORT"
    assert origins["retry"] == f"retry in {toml}"
    assert origins["host"] == "default"


def test_lists_are_comma_separated_or_toml_arrays(toml: Path) -> None:
    toml.write_text('allowed_origins = ["https://a.example", "http://b.example:8000"]\ntrusted_proxies = "::1"\n')
    settings = load({"jwt_algorithms": "HS256, EdDSA,"}, toml, {})
    assert settings.allowed_origins == ["https://a.example", "http://b.example:8000"]
    assert [str(network) for network in settings.trusted_proxies] == ["::1/128"]
    assert settings.jwt_algorithms == ["HS256", "EdDSA"]


def test_empty_text_means_none_or_an_empty_list() -> None:
    empty = dict.fromkeys(("jwt_secret", "jwks_url", "jwt_issuer", "allowed_origins", "session_cookie"), "")
    settings = load(empty, None, {})
    assert (settings.jwt_secret, settings.jwks_url, settings.jwt_issuer) == (None, None, None)
    assert settings.allowed_origins == []
    assert settings.session_cookie == ""


def test_the_variables_of_the_client_commands_are_no_settings() -> None:
    env = {"TORNADO_SSE_CONFIG": "x", "TORNADO_SSE_TOKEN": "x", "TORNADO_SSE_URL": "x"}
    assert load({}, None, env) == Settings()


BROKER_FORMS = (
    "nats://HOST[:PORT] or tls://, several with commas; redis://HOST[:PORT][/DB] or rediss://; "
    "redis+sentinel://HOST[:PORT],.../MASTER[/DB] or rediss+sentinel://"
)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("port", "99999", "a whole number: 0 to 65535"),
        ("port", "tcp://10.0.0.1:80", "a whole number: 0 to 65535"),
        ("max_streams", "-1", "a whole number: 0 or more"),
        ("keepalive", "0", "a number: 0.05 to 300"),
        ("retry", "0", "a number: above 0 to 300"),
        ("history_ttl", "nan", "a number: above 0"),
        ("history_ttl", "inf", "a number: above 0"),
        ("dev", "maybe", "true or false"),
        ("slow_policy", "drop", "text: disconnect, drop-oldest, conflate"),
        ("jwt_algorithms", "none", "a comma-separated list: HS256, RS256, ES256, EdDSA"),
        ("session_cookie", "a b", "a cookie name (RFC 6265 section 4.1.1), or empty for no cookie"),
        ("jwks_url", "file:///etc/keys", "a URL that begins with http:// or https:// and names a host"),
        ("jwks_url", "https://", "a URL that begins with http:// or https:// and names a host"),
        ("broker", "http://a", BROKER_FORMS),
        ("broker", "nats://a,", BROKER_FORMS),
        ("broker", "redis://a,b", BROKER_FORMS),
        ("broker", "redis://a/main", BROKER_FORMS),
        ("broker", "redis+sentinel://a,b", BROKER_FORMS),
        ("broker", "redis://a:99999", "Port out of range 0-65535"),
        ("broker_prefix", "a.b", "1 to 64 letters, digits, _ and -"),
        ("trusted_proxies", "10.0.0.1/8", "an address, or a network without host bits, like 10.0.0.0/8 or ::1"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(name: str, value: str, allowed: str) -> None:
    assert problems(env={name: value}) == [f"TORNADO_SSE_{name.upper()}: {value} is not allowed: {allowed}"]


def test_a_password_in_a_url_is_refused_and_never_shown() -> None:
    (line,) = problems(env={"broker": "nats://u:hunter2@a"})
    reason = "a URL without user and password, which are settings of their own"
    assert line == f"TORNADO_SSE_BROKER: the value is not allowed: {reason}"


def test_an_empty_value_is_refused_where_it_means_nothing() -> None:
    assert problems(env={"host": ""}) == ["TORNADO_SSE_HOST: (empty) is not allowed: text: not empty"]
    assert problems(env={"jwt_algorithms": ","}) == [
        "TORNADO_SSE_JWT_ALGORITHMS: (empty) is not allowed: a comma-separated list: HS256, RS256, ES256, EdDSA"
    ]


def test_true_is_no_number(toml: Path) -> None:
    toml.write_text("port = true\ndev = false\n")
    assert problems(file=toml) == [f"port in {toml}: true is not allowed: a whole number: 0 to 65535"]


def test_a_value_never_breaks_the_line() -> None:
    assert problems(env={"port": "8\n0"}) == [r"TORNADO_SSE_PORT: 8\n0 is not allowed: a whole number: 0 to 65535"]


def test_every_problem_has_a_line_with_where_it_came_from(toml: Path) -> None:
    toml.write_text('prot = 1\nlog_level = "loud"\n')
    assert problems({"admin_port": "x"}, toml, {"keepalif": "1", "retry": "0"}) == [
        f"prot in {toml}: there is no such setting; did you mean port?",
        "TORNADO_SSE_KEEPALIF: there is no such setting; did you mean TORNADO_SSE_KEEPALIVE?",
        "--admin-port: x is not allowed: a whole number: 0 to 65535",
        "TORNADO_SSE_RETRY: 0 is not allowed: a number: above 0 to 300",
        f"log_level in {toml}: loud is not allowed: text: debug, info, warning, error",
    ]


def test_an_unknown_name_like_no_other_gets_no_suggestion() -> None:
    assert problems(env={"zzz": "1"}) == ["TORNADO_SSE_ZZZ: there is no such setting"]


def test_a_file_that_is_missing_or_not_toml_is_refused(toml: Path) -> None:
    assert problems(file=toml) == [f"{toml}: can't be read: No such file or directory"]
    toml.write_text("port =")
    assert problems(file=toml)[0].startswith(f"{toml}: is not TOML: ")
    toml.write_bytes(b"\xff")
    assert problems(file=toml)[0].startswith(f"{toml}: is not TOML: ")


def test_a_canary_wants_a_secret_to_sign_its_session_with() -> None:
    with pytest.raises(ConfigProblem, match="without jwt_secret or session_secret"):
        load({"canary": "5", "jwks_url": "https://keys.example"}, None, {})
    for name, value in (("jwt_secret", "x" * 32), ("session_secret", "x" * 32), ("dev", "true")):
        assert load({"canary": "5", name: value}, None, {}).canary == 5


@pytest.mark.parametrize("name", ["jwt_secret", "session_secret"])
def test_a_short_secret_is_refused_and_never_shown(name: str) -> None:
    (line,) = problems(env={name: "hunter2"})
    assert line.startswith(f"TORNADO_SSE_{name.upper()}: the value is not allowed: ")
    assert "32" in line
    assert "hunter2" not in line
    with pytest.raises(ValidationError) as caught:
        Settings(**{name: "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_a_secret_of_exactly_32_bytes_is_long_enough() -> None:
    assert load({"jwt_secret": "é" * 16}, None, {}).jwt_secret == SecretStr("é" * 16)


def test_key_files_must_hold_a_public_key(tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    (line,) = problems({"jwt_key_files": str(missing)})
    assert line.startswith(f"--jwt-key-files: {missing} is not allowed: ")
    assert line.endswith("can't be read: No such file or directory")


def test_key_files_are_paths(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text(
        "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
        "-----END PUBLIC KEY-----\n"
    )
    assert load({"jwt_key_files": str(key)}, None, {}).jwt_key_files == [key]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/keys", "https://id.example/jwks.json"])
def test_jwks_url_may_be_http_or_https(url: str) -> None:
    assert Settings(jwks_url=url).jwks_url == url


@pytest.mark.parametrize(
    "origin", ["https://app.example.com", "http://localhost:3000", "http://[::1]:80000", "capacitor://localhost"]
)
def test_exact_origins_are_taken(origin: str) -> None:
    assert Settings(allowed_origins=[origin]).allowed_origins == [origin]


@pytest.mark.parametrize(
    "origin",
    ["https://app.example.com/", "https://App.example.com", "app.example.com", "https://a.example:443", "null"],
)
def test_what_no_browser_sends_is_no_origin(origin: str) -> None:
    (line,) = problems(env={"allowed_origins": f"https://good.example,{origin}"})
    assert line == (
        f"TORNADO_SSE_ALLOWED_ORIGINS: {origin} is not allowed: "
        "scheme://host[:port] as browsers send it: lower case, no path, no default port"
    )


def test_a_star_is_no_origin_and_the_message_says_why() -> None:
    (line,) = problems(env={"allowed_origins": "https://*.example.com"})
    assert "any site could read the events" in line


def test_networks_are_parsed_once() -> None:
    networks = Settings(trusted_proxies=["10.0.0.0/8"]).trusted_proxies
    assert Settings(trusted_proxies=networks).trusted_proxies == networks
    mapped = Settings(trusted_proxies=["::ffff:10.0.0.0/104", "::ffff:192.0.2.1", "::/0"]).trusted_proxies
    assert [str(network) for network in mapped] == ["10.0.0.0/8", "192.0.2.1/32", "::/0"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_dev_is_for_loopback(host: str) -> None:
    assert Settings(dev=True, host=host).dev


@pytest.mark.parametrize("host", ["::", "192.0.2.1", "app.example.com"])
def test_dev_refuses_any_other_host(host: str) -> None:
    (line,) = problems({"dev": True}, env={"host": host})
    assert line == (
        f"--dev: true is not allowed: false, or host must be a loopback address, not {host}: "
        "anyone may use a server in dev mode"
    )
    assert Settings(host=host).host == host


def test_an_outbox_and_a_body_hold_the_largest_message() -> None:
    room = "max_message_bytes), room for the largest message"
    assert problems(env={"max_message_bytes": "200000", "max_body_bytes": "199999"}) == [
        f"TORNADO_SSE_MAX_BODY_BYTES: 199999 is not allowed: at least 200000 (1 x {room}",
        f"outbox_bytes (default): 262144 is not allowed: at least 400000 (2 x {room}",
    ]
    Settings(max_message_bytes=131072)


def test_a_key_is_required_unless_in_dev() -> None:
    with pytest.raises(ConfigProblem, match=r"TORNADO_SSE_JWT_SECRET, .*_JWT_KEY_FILES or .*_JWKS_URL, or try --dev"):
        config.require_key(Settings())


@pytest.mark.parametrize("given", [{"jwt_secret": SECRET}, {"jwks_url": "https://id.example/"}, {"dev": True}])
def test_one_kind_of_key_is_enough(given: dict[str, Any]) -> None:
    config.require_key(Settings(**given))


@pytest.mark.parametrize(
    ("broker", "name", "value"),
    [
        ("redis://a", "broker_token", SECRET),
        ("rediss://a", "broker_replicas", "3"),
        ("redis+sentinel://a/main", "broker_ca", "/ca.pem"),
        ("", "broker_user", "u"),
    ],
)
def test_what_the_broker_has_no_use_for_is_refused(broker: str, name: str, value: str) -> None:
    (problem,) = problems(env={"broker": broker, name: value})
    assert problem.startswith(config.variable(name))
    assert problem.endswith(f"leave it out: {broker or 'a server without a broker'} has no use for it")


def test_what_is_as_it_would_be_anyway_may_be_given_to_any_broker() -> None:
    Settings(broker="redis://a", broker_replicas=1, broker_token="", broker_prefix="p")


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_is_described_in_a_sentence(name: str) -> None:
    description = Settings.model_fields[name].description
    assert description
    assert description.endswith(".")


def test_secrets_are_known_as_such() -> None:
    secrets = ["jwt_secret", "session_secret", "broker_password", "broker_token"]
    assert [name for name in Settings.model_fields if config.is_secret(name)] == secrets


def test_values_are_shown_as_text_and_secrets_hidden() -> None:
    values = [None, "", [], SecretStr(SECRET), True, 0.5, 15.0, 7, ["a", 1], "x"]
    shown = ["(not set)", "(empty)", "(empty)", "(set)", "true", "0.5", "15", "7", "a,1", "x"]
    assert [config.shown(value) for value in values] == shown


def test_the_table_has_a_row_for_every_setting() -> None:
    head, rule, *rows = config.markdown_table().splitlines()
    assert head == "| name | flag | default | meaning |"
    assert rule == "|---|---|---|---|"
    assert [row.split("`")[1] for row in rows] == [config.variable(name) for name in Settings.model_fields]
    assert all(row.count("|") == 5 for row in rows)
    assert (
        "| `TORNADO_SSE_PORT` | `--port` | `8080` | Port of the public listener; 0 takes a free one. (0 to 65535) |"
        in rows
    )


def test_the_module_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(config.__file__, run_name="__main__")
    assert capsys.readouterr().out == config.markdown_table()


def test_the_kernel_is_not_to_end_a_slow_stream_before_we_do() -> None:
    (line,) = problems({"outbox_age": "60"})
    assert line.startswith("tcp_user_timeout (default): 30 is not allowed: 0, or at least outbox_age (60)")
    assert load({"outbox_age": "60", "tcp_user_timeout": "0"}, None, {}).outbox_age == 60


def test_the_listeners_need_ports_of_their_own() -> None:
    assert problems({"port": "9000", "admin_port": "9000"}) == [
        "--admin-port: 9000 is not allowed: another port than the public listener's"
    ]


@pytest.mark.parametrize("flags", [{"port": "0", "admin_port": "0"}, {"admin_port": "8080", "admin_host": "::1"}])
def test_ports_that_are_not_the_same_are_fine(flags: dict[str, str]) -> None:
    assert load(flags, None, {}).admin_port == int(flags["admin_port"])

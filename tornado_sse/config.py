"""The settings: declared once, here. Flags, environment, TOML, help texts and the table in README all come from it."""

import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tornado_sse.outbox import SlowPolicy
from tornado_sse.values import (
    BROKER_SETTINGS,
    BrokerPrefix,
    BrokerUrl,
    CookieName,
    KeyFile,
    Network,
    Origin,
    Secret,
    Url,
    is_loopback,
    settings_of_use,
)

ENV_PREFIX = "TORNADO_SSE_"
CLIENT_VARIABLES = frozenset({"CONFIG", "TOKEN", "URL"})
"""Variables with our prefix that belong to the command line and are no settings."""

Algorithm = Literal["HS256", "RS256", "ES256", "EdDSA"]


class ConfigProblem(Exception):
    """The configuration is refused. The text has one line for each problem and never shows a secret."""

    def __init__(self, problems: Iterable[str]) -> None:
        super().__init__("\n".join(problems))


class Settings(BaseSettings):
    """All settings of a server, checked and frozen.

    `Settings(jwt_secret="...")` takes what it is given and the defaults, nothing from the environment, and raises
    `pydantic.ValidationError`; `load` is for programs. Unknown names are refused.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    host: str = Field("127.0.0.1", min_length=1, description="Address of the public listener; 0.0.0.0 is all of them.")
    port: int = Field(8080, ge=0, le=65535, description="Port of the public listener; 0 takes a free one.")
    admin_host: str = Field("127.0.0.1", min_length=1, description="Address of the admin listener (metrics).")
    admin_port: int = Field(8081, ge=0, le=65535, description="Port of the admin listener; 0 takes a free one.")
    reuse_port: bool = Field(default=False, description="Whether other processes may share the port; see --broker.")
    workers: int = Field(1, ge=1, le=64, description="Processes that share the port, and messages through a broker.")
    dev: bool = Field(default=False, description="For trying out: on loopback, with /demo and a key of its own.")

    jwt_secret: Secret | None = Field(None, description="Secret that HS256 tokens are signed with; empty: none.")
    jwt_key_files: list[KeyFile] = Field([], description="PEM files with public keys: RSA, EC P-256 or Ed25519.")
    jwks_url: Url | None = Field(None, description="Where the issuer publishes its keys (JWKS); empty: nowhere.")
    jwt_algorithms: list[Algorithm] = Field(
        ["HS256", "RS256", "ES256", "EdDSA"], min_length=1, description="Algorithms that a token may be signed with."
    )
    jwt_issuer: str | None = Field(None, description="What a token's iss must be; empty: anything.")
    jwt_audience: str | None = Field(None, description="What a token's aud must contain; empty: it may have none.")
    jwt_leeway: float = Field(5, ge=0, le=30, description="Seconds that clocks may differ by, for a token's times.")

    session_secret: Secret | None = Field(
        None, description="Secret that signs minted session ids; empty: from jwt_secret."
    )
    session_ttl: float = Field(3600, gt=0, description="Seconds that a minted session id is good for.")
    session_cookie: CookieName = Field("__Host-sse", description="Cookie that may carry a token; empty: none may.")
    query_token: bool = Field(default=False, description="Whether a token may come as ?access_token=, which logs see.")
    allowed_origins: list[Origin] = Field(
        [], description="Origins of pages, like https://app.example.com; empty: our own only."
    )
    trusted_proxies: list[Network] = Field(
        [], description="Proxies (addresses, networks) believed on X-Forwarded-For; empty: none."
    )

    max_streams: int = Field(0, ge=0, description="Open streams in all; 0: no cap.")
    max_streams_per_user: int = Field(32, ge=0, description="Open streams of one user; 0: no cap.")
    user_cap_policy: Literal["reject", "replace"] = Field(
        "reject", description="What happens over a user's cap: the new stream is rejected, or the oldest ended."
    )
    max_streams_per_address: int = Field(0, ge=0, description="Open streams from one address; 0: no cap.")
    max_channels: int = Field(32, ge=1, description="Channels that one stream may ask for.")

    keepalive: float = Field(15, ge=0.05, le=300, description="Seconds between two keepalive comments on a stream.")
    retry: float = Field(2, gt=0, le=300, description="Seconds until a client reconnects, on average: it is jittered.")
    history_size: int = Field(1000, ge=0, description="Messages kept for each topic, for clients that resume; 0: none.")
    history_ttl: float = Field(300, gt=0, description="Seconds that a message is kept.")
    history_bytes: int = Field(268435456, ge=0, description="Bytes kept for all topics together; 0: none.")

    max_message_bytes: int = Field(65536, ge=1, description="Bytes of one message's data.")
    max_batch_items: int = Field(10000, ge=1, description="Messages in one publish request.")
    max_body_bytes: int = Field(8388608, ge=1, description="Bytes of one request's body.")
    idempotency_keys: int = Field(100_000, ge=1, description="Keys remembered; beyond them the oldest go first.")
    idempotency_window: float = Field(120, ge=0, description="Seconds that a repeated key is a duplicate; 0: never.")

    broker: BrokerUrl | None = Field(
        None, description="What nodes share: a nats:// or redis:// URL, see docs/engines.md; empty: nothing, in memory."
    )
    broker_prefix: BrokerPrefix = Field("sse", description="What all names in the broker begin with; one for each hub.")
    broker_replicas: int = Field(1, ge=1, le=5, description="Servers that keep each message (NATS).")
    broker_probe: float = Field(
        2, ge=0.1, le=60, description="Seconds between two round trips to the broker; one unanswered: it is down."
    )
    broker_user: str | None = Field(None, description="User at the broker; empty: none.")
    broker_password: SecretStr | None = Field(None, description="The user's password; empty: none.")
    broker_token: SecretStr | None = Field(None, description="Token for the broker (NATS); empty: none.")
    broker_creds: Path | None = Field(None, description="File with a JWT and its seed (NATS); empty: none.")
    broker_nkey: Path | None = Field(None, description="File with an nkey's seed (NATS); empty: none.")
    broker_ca: Path | None = Field(
        None, description="PEM file with who signs the broker's certificate; empty: the usual."
    )
    broker_cert: Path | None = Field(None, description="PEM file with our certificate for the broker; empty: none.")
    broker_key: Path | None = Field(None, description="PEM file with that certificate's key; empty: in the same file.")

    outbox_bytes: int = Field(262144, ge=1, description="Bytes that may wait for one slow stream.")
    outbox_age: float = Field(10, gt=0, description="Seconds that a message may wait for one slow stream.")
    slow_policy: SlowPolicy = Field(SlowPolicy.DISCONNECT, description="What becomes of a stream past either bound.")
    outbox_budget: int = Field(
        268435456, ge=1, description="Bytes that may wait in all; past it publishing is answered 503."
    )

    drain_time: float = Field(20, ge=0, description="Seconds over which streams are closed at a stop; 0: all at once.")
    disconnect_hold: float = Field(60, ge=0, description="Seconds a disconnected session is kept out by 204; 0: none.")
    compression: bool = Field(default=False, description="Whether streams are compressed for clients that accept gzip.")
    tcp_user_timeout: float = Field(
        30, ge=0, description="Seconds a peer may take in nothing that was sent; 0: the kernel decides."
    )
    canary: float = Field(
        0,
        ge=0,
        le=3600,
        description="Seconds between two messages to a stream of our own, to see that it works; 0: none.",
    )
    tracing: bool = Field(default=False, description="Whether a traceparent leads to a span; see docs/tracing.md.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least level logged.")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="Form of the log on stderr; auto: console in a terminal, else json."
    )

    def __init__(self, **values: Any) -> None:  # noqa: ANN401 - text is taken too and parsed, whatever the field's type
        super().__init__(**values)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the hook's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - same
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - same
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Leave the environment out: an embedding application gets what it asked for."""
        return (init_settings,)

    @field_validator("*", mode="before")
    @classmethod
    def _from_text(cls, value: object, info: ValidationInfo) -> object:
        annotation = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and annotation is not bool:
            raise ValueError(allowed(str(info.field_name)))
        if isinstance(value, str) and get_origin(annotation) is list:
            return [item.strip() for item in value.split(",") if item.strip()]
        if value == "" and type(None) in get_args(annotation):
            return None
        return value

    @field_validator(*BROKER_SETTINGS)
    @classmethod
    def _of_use_to_the_broker(cls, value: object, info: ValidationInfo) -> object:
        name, url = str(info.field_name), info.data.get("broker", "")  # "": refused already
        if url != "" and value != cls.model_fields[name].default and name not in settings_of_use(url):
            raise ValueError(f"leave it out: {url or 'a server without a broker'} has no use for it")
        return value

    @field_validator("tcp_user_timeout")
    @classmethod
    def _above_the_outbox_age(cls, seconds: float, info: ValidationInfo) -> float:
        age = info.data.get("outbox_age", 0)
        if 0 < seconds < age:
            raise ValueError(f"0, or at least outbox_age ({age:g}): the kernel would end a slow stream before we do")
        return seconds

    @field_validator("canary")
    @classmethod
    def _can_sign(cls, seconds: float, info: ValidationInfo) -> float:
        if seconds and not any(info.data.get(name) for name in ("dev", "jwt_secret", "session_secret")):
            raise ValueError("0, for without jwt_secret or session_secret there is no session id for it")
        return seconds

    @field_validator("admin_port")
    @classmethod
    def _port_of_its_own(cls, port: int, info: ValidationInfo) -> int:
        shared = port and port == info.data.get("port") and info.data.get("admin_host") == info.data.get("host")
        if shared:
            raise ValueError("another port than the public listener's")
        return port

    @field_validator("dev")
    @classmethod
    def _loopback_only(cls, dev: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - a validator's signature
        host = info.data.get("host", "localhost")
        if dev and not is_loopback(host):
            raise ValueError(
                f"false, or host must be a loopback address, not {host}: anyone may use a server in dev mode"
            )
        return dev

    @field_validator("max_body_bytes", "outbox_bytes")
    @classmethod
    def _holds_a_message(cls, size: int, info: ValidationInfo) -> int:
        factor = 2 if info.field_name == "outbox_bytes" else 1  # framing counts in an outbox
        least = factor * info.data.get("max_message_bytes", 0)
        if size < least:
            raise ValueError(f"at least {least} ({factor} x max_message_bytes), room for the largest message")
        return size


def load(flags: Mapping[str, object], config_file: Path | None, env: Mapping[str, str]) -> Settings:
    """Read the settings: `flags` (None: not given) are stronger than `env`, which is stronger than the TOML file.

    Raises ConfigProblem with everything that is wrong, each with where it came from and what is allowed.
    """
    given, problems = _collect(flags, config_file, env)
    try:
        settings = Settings(**{name: item.value for name, item in given.items()})
    except ValidationError as error:
        problems += [_problem(details, given) for details in error.errors()]
    if problems:
        raise ConfigProblem(problems)
    return settings


def origins(flags: Mapping[str, object], config_file: Path | None, env: Mapping[str, str]) -> dict[str, str]:
    """Where `load` takes each setting from: `--port`, `TORNADO_SSE_PORT`, `port in FILE`, or `default`."""
    given, _ = _collect(flags, config_file, env)
    return {name: given[name].origin if name in given else "default" for name in Settings.model_fields}


def require_key(settings: Settings) -> None:
    """Raise ConfigProblem if no token could ever be checked: no secret, key file or JWKS URL, and not dev."""
    if not (settings.dev or settings.jwt_secret or settings.jwt_key_files or settings.jwks_url):
        ways = [variable(name) for name in ("jwt_secret", "jwt_key_files", "jwks_url")]
        raise ConfigProblem([f"no key to check tokens with: set {', '.join(ways[:-1])} or {ways[-1]}, or try --dev"])


def flag(name: str) -> str:
    """Spell a setting as the command line does: `jwt_secret` is `--jwt-secret`."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """Spell a setting as the environment does: `jwt_secret` is `TORNADO_SSE_JWT_SECRET`."""
    return ENV_PREFIX + name.upper()


@dataclass(frozen=True, slots=True)
class _Given:
    value: object
    origin: str


def _collect(
    flags: Mapping[str, object], config_file: Path | None, env: Mapping[str, str]
) -> tuple[dict[str, _Given], list[str]]:
    """Merge the layers, the weakest first; also return what could not be merged."""
    problems: list[str] = []
    given: dict[str, _Given] = {}
    if config_file is not None:
        given |= _known(_from_file(config_file, problems), str, f" in {config_file}", problems)
    given |= _known(_from_environment(env), variable, "", problems)
    given |= _known(((name, value) for name, value in flags.items() if value is not None), flag, "", problems)
    return given, problems


def _known(
    entries: Iterable[tuple[str, object]], spell: Callable[[str], str], where: str, problems: list[str]
) -> dict[str, _Given]:
    known = {}
    for name, value in entries:
        if name in Settings.model_fields:
            known[name] = _Given(value, spell(name) + where)
        else:
            near = get_close_matches(name.lower(), Settings.model_fields, n=1)
            hint = f"; did you mean {spell(near[0])}?" if near else ""
            problems.append(f"{spell(name)}{where}: there is no such setting{hint}")
    return known


def _from_file(path: Path, problems: list[str]) -> Iterable[tuple[str, object]]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")).items()
    except OSError as error:
        problems.append(f"{path}: can't be read: {error.strerror}")
    except ValueError as error:
        problems.append(f"{path}: is not TOML: {error}")
    return ()


def _from_environment(env: Mapping[str, str]) -> Iterator[tuple[str, object]]:
    for key, value in env.items():
        name = key.removeprefix(ENV_PREFIX)
        if name != key and name not in CLIENT_VARIABLES:
            yield name.lower(), value


def _problem(details: Mapping[str, Any], given: Mapping[str, _Given]) -> str:
    name = str(details["loc"][0])
    origin = given[name].origin if name in given else f"{name} (default)"
    value = "the value" if is_secret(name) or "@" in (text := shown(details["input"])) else f"{repr(text)[1:-1]:.100}"
    reason = details["ctx"]["error"] if details["type"] == "value_error" else allowed(name)
    return f"{origin}: {value} is not allowed: {reason}"


@cache
def _shapes() -> dict[str, dict[str, Any]]:
    """Shape of each setting as JSON Schema, without references and without null."""
    schema = Settings.model_json_schema()

    def resolved(shape: dict[str, Any]) -> dict[str, Any]:
        shape = shape.get("anyOf", [shape])[0]
        if "$ref" in shape:
            shape = schema["$defs"][shape["$ref"].rpartition("/")[2]]
        return shape

    return {name: resolved(shape) for name, shape in schema["properties"].items()}


def is_secret(name: str) -> bool:
    """Whether the setting's value must never be shown."""
    return _shapes()[name].get("format") == "password"


def limits(name: str) -> str:
    """Say what is allowed within the setting's type, or empty if all of it: `0 to 65535`, `reject, replace`."""
    shape = _shapes()[name]
    if choices := shape.get("enum") or shape.get("items", {}).get("enum"):
        return ", ".join(choices)
    if "minLength" in shape:
        return "not empty"
    if "exclusiveMinimum" in shape:
        low = f"above {shape['exclusiveMinimum']:g}"
        return f"{low} to {shape['maximum']:g}" if "maximum" in shape else low
    if "minimum" in shape:
        return f"{shape['minimum']:g} " + (f"to {shape['maximum']:g}" if "maximum" in shape else "or more")
    return ""


_TYPES = {
    "array": "a comma-separated list",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
}


def allowed(name: str) -> str:
    """Say what is allowed for a setting: `a whole number: 0 to 65535`."""
    return ": ".join(filter(None, (_TYPES[_shapes()[name]["type"]], limits(name))))


def shown(value: object) -> str:
    """Spell a setting's value as text, secrets hidden."""
    if isinstance(value, SecretStr):
        return "(set)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.15g}"
    if isinstance(value, list):
        return ",".join(map(str, value)) or "(empty)"
    return "(not set)" if value is None else str(value) or "(empty)"


def meaning(name: str) -> str:
    """One sentence on a setting, with its limits."""
    description = str(Settings.model_fields[name].description)
    return f"{description} ({limits(name)})" if limits(name) else description


def markdown_table() -> str:
    """Every setting as a Markdown table: name, flag, default, meaning."""
    rows = ["| name | flag | default | meaning |", "|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = shown(field.default)
        spelled = default if default.startswith("(") else f"`{default}`"
        rows.append(f"| `{variable(name)}` | `{flag(name)}` | {spelled} | {meaning(name)} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown_table())

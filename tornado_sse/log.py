"""Logs on stderr: a JSON object a line, or colours for a person. Only `configure` touches the process's logging."""

import hashlib
import json
import logging
import re
import sys
import time
from contextlib import suppress
from functools import lru_cache
from typing import Literal, TextIO, cast

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

_JWT = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*", re.ASCII)
_QUERY_TOKEN = re.compile(r"""(access_token(?:=|%3D|["']: ?["']))[^&\s"'\\]+""")
_SESSION_PATH = re.compile(r"""(/sse/(?:connect|disconnect|sessions)/)([^/?#\s"'\\]+)""")


_library = structlog.wrap_logger(
    logging.getLogger("tornado_sse"),
    processors=[
        structlog.stdlib.filter_by_level,
        structlog.processors.format_exc_info,
        structlog.processors.LogfmtRenderer(key_order=["event"]),
    ],
    wrapper_class=structlog.stdlib.BoundLogger,
)
_structured = structlog.get_logger()


def logger() -> FilteringBoundLogger:
    """Return where to log: structlog if the process set it up, else the standard library's logger `tornado_sse`.

    So an application that we are embedded in decides, and finds nothing printed that it did not ask for.
    """
    return cast("FilteringBoundLogger", _structured if structlog.is_configured() else _library)


def fingerprint(text: str) -> str:
    """Shorten a session id to the only form in which it may be logged: 8 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]


def redact(text: str) -> str:
    """Take out of a line what must never be logged: tokens, and session ids in paths."""
    if "access_token" in text:
        text = _QUERY_TOKEN.sub(r"\1(token)", text)
    if "/sse/" in text:
        text = _SESSION_PATH.sub(lambda match: match[1] + fingerprint(match[2]), text)
    return _JWT.sub("(token)", text) if "eyJ" in text else text


def configure(level: str, log_format: Literal["auto", "json", "console"], **always: object) -> None:
    """Log what is at least `level` (a name: debug, info, warning, error), both structlog's and the standard library's.

    `auto` is console if stderr is a terminal, else json. tornado.access stays silent below warning: we log our own.
    `always` are fields of every line.
    """
    console = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    start: list[Processor] = [
        structlog.processors.add_log_level,
        _stamp,
        structlog.processors.format_exc_info,
    ]
    if always:
        start.append(lambda _logger, _method, event: {**event, **always})
    render = _redacted(_console_renderer() if console else _to_json)
    least = logging.getLevelNamesMapping()[level.upper()]
    global _structured  # noqa: PLW0603 - a logger keeps what it was configured with, so that a line costs little
    _structured = structlog.get_logger()
    structlog.configure(
        processors=[*start, render],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Stderr())),
        cache_logger_on_first_use=True,
    )
    _route_standard_library([structlog.stdlib.add_logger_name, *start], render, least)


def _stamp(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    # structlog's own goes by datetime, which leaves a string in the interpreter's cache of names for each line.
    now = time.time()
    event["time"] = f"{_to_the_second(int(now))}.{int(now % 1 * 1e6):06}Z"
    return event


@lru_cache(maxsize=1)
def _to_the_second(now: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))


class _Stderr:
    """Stderr without its errors: if nobody reads the log any more, that is no reason for anything else to fail."""

    def write(self, text: str) -> None:
        with suppress(OSError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()


def _route_standard_library(start: list[Processor], render: Processor, least: int) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=start, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(least)
    for name in ("tornado.access", "tornado.general"):  # a refused or malformed request is counted, not logged
        logging.getLogger(name).setLevel(max(least, logging.WARNING))


def _console_renderer() -> structlog.dev.ConsoleRenderer:
    # A plain traceback: the pretty ones print local variables, secrets among them.
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), timestamp_key="time", exception_formatter=structlog.dev.plain_traceback
    )


def _to_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    line = {"time": event.pop("time"), "level": event.pop("level"), "event": event.pop("event"), **event}
    try:
        return msgspec.json.encode(line, enc_hook=repr).decode()
    except (ValueError, TypeError, OverflowError):
        # Lone surrogates, odd keys, huge numbers: what can't be encoded is still logged, as its repr.
        return json.dumps(
            {key: value if isinstance(value, str | int | float) else repr(value) for key, value in line.items()}
        )


def _redacted(render: Processor) -> Processor:
    return lambda logger, method, event: redact(str(render(logger, method, event)))

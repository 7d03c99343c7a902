import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import structlog

from tornado_sse import log

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1MSJ9.c2lnbmF0dXJl-_"

Stderr = Callable[[], str]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str]) -> Iterator[Stderr]:
    """What is written to stderr; afterwards the process's logging is as it was."""
    root = logging.getLogger()
    touched = [root, logging.getLogger("tornado.access"), logging.getLogger("tornado.general")]
    handlers, levels = root.handlers[:], [logger.level for logger in touched]
    yield lambda: capsys.readouterr().err
    root.handlers[:] = handlers
    for logger, level in zip(touched, levels, strict=True):
        logger.setLevel(level)
    structlog.reset_defaults()


def lines(stderr: Stderr) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stderr().splitlines()]


def test_a_session_id_is_logged_as_eight_digits_of_its_hash() -> None:
    assert log.fingerprint("abc") == "ba7816bf"  # FIPS 180-4's example
    assert len(log.fingerprint("\ud800")) == 8


def test_a_log_that_nobody_reads_harms_nobody(stderr: Stderr, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None:
            raise BrokenPipeError

    log.configure("info", "json")
    monkeypatch.setattr(sys, "stderr", Broken())
    structlog.get_logger().error("lost")
    monkeypatch.undo()
    structlog.get_logger().error("read again")
    assert [line["event"] for line in lines(stderr)] == ["read again"]


def test_json_has_time_level_event_and_fields_in_this_order(stderr: Stderr) -> None:
    log.configure("info", "json")
    structlog.get_logger().info("stream closed", reason="slow", duration=1.5)
    (line,) = lines(stderr)
    assert list(line) == ["time", "level", "event", "reason", "duration"]
    assert line["level"] == "info"
    assert line["event"] == "stream closed"
    assert line["time"].endswith("Z")


def test_the_time_of_a_line_has_microseconds(stderr: Stderr, monkeypatch: pytest.MonkeyPatch) -> None:
    log.configure("info", "json")
    monkeypatch.setattr("tornado_sse.log.time.time", lambda: 1.000042)
    structlog.get_logger().info("x")
    (line,) = lines(stderr)
    assert line["time"] == "1970-01-01T00:00:01.000042Z"


def test_fields_of_every_line_stand_behind_its_own(stderr: Stderr) -> None:
    log.configure("info", "json", worker=3)
    structlog.get_logger().info("stream closed", reason="slow")
    logging.getLogger("other").error("boom")
    ours, other = lines(stderr)
    assert list(ours) == ["time", "level", "event", "reason", "worker"]
    assert (ours["worker"], other["worker"]) == (3, 3)


def test_what_is_below_the_level_is_not_logged(stderr: Stderr) -> None:
    log.configure("warning", "json")
    structlog.get_logger().info("no")
    logging.getLogger("tornado.general").info("no")
    structlog.get_logger().warning("yes")
    logging.getLogger("tornado.general").warning("yes")
    assert [line["event"] for line in lines(stderr)] == ["yes", "yes"]


def test_the_standard_library_goes_the_same_way(stderr: Stderr) -> None:
    log.configure("debug", "json")
    logging.getLogger("asyncio").debug("took %s s", 3)
    (line,) = lines(stderr)
    assert (line["level"], line["event"], line["logger"]) == ("debug", "took 3 s", "asyncio")


@pytest.mark.parametrize("name", ["tornado.access", "tornado.general"])
def test_lines_for_each_request_are_silent_below_warning(stderr: Stderr, name: str) -> None:
    log.configure("debug", "json")
    logging.getLogger(name).info("200 GET /")
    assert stderr() == ""
    logging.getLogger(name).warning("404 GET /nothing")
    assert lines(stderr)[0]["event"] == "404 GET /nothing"


def test_an_exception_is_one_field(stderr: Stderr) -> None:
    log.configure("info", "json")
    try:
        int(f"with {JWT}")
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("tornado.application").exception("failed")
    for line in lines(stderr):
        assert line["exception"].splitlines()[0] == "Traceback (most recent call last):"
        assert line["exception"].endswith("'with (token)'")


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (f"Bearer {JWT}, refused", "Bearer (token), refused"),
        (f"{JWT.rpartition('.')[0]}.", "(token)"),
        ("/demo?a=1&access_token=s3cret&b=2", "/demo?a=1&access_token=(token)&b=2"),
        ('{"access_token":"s3cret"}', '{"access_token":"(token)"}'),
        ("{'access_token': 's3cret'}", "{'access_token': '(token)'}"),
        ("access_token%3Ds3cret", "access_token%3D(token)"),
        ("GET /sse/connect/abc?x (::1)", "GET /sse/connect/ba7816bf?x (::1)"),
        ("POST /sse/sessions/abc/refresh", "POST /sse/sessions/ba7816bf/refresh"),
        ("eyes are not a token, nor is eyJ.x", "eyes are not a token, nor is eyJ.x"),
    ],
)
def test_tokens_and_session_ids_are_taken_out(text: str, redacted: str) -> None:
    assert log.redact(text) == redacted


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_slip_does_not_leak(stderr: Stderr, log_format: Literal["json", "console"]) -> None:
    log.configure("info", log_format)
    structlog.get_logger().info(f"event {JWT}", url=f"?access_token={JWT}", deep={"list": [JWT]})
    logging.getLogger("tornado.access").warning("401 GET /sse/connect/abc?access_token=%s", JWT)
    written = stderr()
    assert written.count("(token)") == 4
    assert "eyJ" not in written


def test_what_json_does_not_know_is_logged_all_the_same(stderr: Stderr) -> None:
    log.configure("info", "json")
    logger = structlog.get_logger()
    logger.info("object", path=OSError(2, "gone"))
    logger.info("surrogate", path="\udcff", keys={(1, 2): object}, access_token="s3cret")
    first, second = lines(stderr)
    assert first["path"] == "FileNotFoundError(2, 'gone')"
    assert second["path"] == "\udcff"
    assert second["access_token"] == "(token)"


def test_console_is_for_a_person(stderr: Stderr) -> None:
    log.configure("info", "console")
    structlog.get_logger().info("stream opened", user="u1")
    written = stderr()
    assert "stream opened" in written
    assert "user=u1" in written
    assert "\x1b" not in written


def test_a_console_traceback_shows_no_variables(stderr: Stderr) -> None:
    log.configure("info", "console")
    password = SimpleNamespace(text="hunter2")
    try:
        int(password)
    except TypeError:
        structlog.get_logger().exception("failed")
    written = stderr()
    assert "TypeError" in written
    assert "hunter2" not in written


@pytest.mark.usefixtures("stderr")
def test_auto_is_colours_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    log.configure("info", "auto")
    structlog.get_logger().info("hello")
    assert "\x1b[" in terminal.getvalue()


def test_auto_is_json_elsewhere(stderr: Stderr) -> None:
    log.configure("info", "auto")
    structlog.get_logger().info("hello")
    assert lines(stderr)[0]["event"] == "hello"


def test_configured_twice_a_line_comes_once(stderr: Stderr) -> None:
    log.configure("info", "json")
    log.configure("info", "json")
    logging.getLogger("x").warning("once")
    assert len(lines(stderr)) == 1

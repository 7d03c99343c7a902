"""Who may import whom: the rooms of the package, read from its source."""

import ast
from collections.abc import Iterator
from fnmatch import fnmatchcase
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import tornado_sse

ROOT = Path(tornado_sse.__file__).parent

PURE = {
    "admission",
    "brokers.base",
    "brokers.commands",
    "brokers.nats.codec",
    "brokers.nats.feed",
    "brokers.redis.codec",
    "brokers.redis.inbox",
    "brokers.redis.interest",
    "census",
    "console.figures",
    "console.finding",
    "console.operations",
    "deadlines",
    "errors",
    "event",
    "expiring",
    "fanout",
    "history",
    "hub",
    "message",
    "notices",
    "outbox",
    "position",
    "publishing",
    "resume",
    "ring",
    "sessions",
    "sharing",
    "stats",
    "steps",
    "topic",
    "unreadable",
    "workers.backoff",
}
"""The core: no sockets, no loop, no clock but an injected one. It imports itself, and nothing that acts or waits."""

PURE_LIBRARIES = {
    "abc",
    "bisect",
    "collections",
    "contextlib",
    "dataclasses",
    "enum",
    "functools",
    "hashlib",
    "heapq",
    "http",  # the names of status codes
    "itertools",
    "json",
    "math",
    "msgspec",
    "operator",
    "re",
    "typing",
    "urllib",
    "zlib",
}

# What is imported, and the only ones who may. Names are those of the package without its own; `cli.*` is all below it.
IMPORTERS = [
    ("brokers.memory", {"app", "console.node"}),  # the composition roots alone know concrete brokers
    ("brokers.nats.*", {"app", "brokers.nats.*"}),
    ("brokers.redis.*", {"app", "brokers.redis.*"}),
    ("brokers.tls", {"brokers.nats.login", "brokers.redis.login"}),
    ("app", {"lifecycle", "__init__"}),
    ("workers.*", {"cli.serve", "workers.*"}),
    ("canary", {"lifecycle"}),
    ("node", {"canary", "app", "handlers.*", "console.local", "console.node"}),
    ("console.*", {"app", "console.*", "handlers.console", "workers.*"}),
    ("handlers", set()),
    ("handlers.*", {"app", "lifecycle", "handlers.*", "workers.worker", "workers.admin"}),
    ("lifecycle", {"cli.serve", "workers.*"}),
    ("cli", {"__main__"}),
    ("cli.*", {"cli", "cli.*"}),
    ("stream", {"registry", "node", "inbound", "handlers.connect"}),
    (
        "socket",
        {"stream", "connection", "registry", "sockets", "listener", "iostream", "systemd", "workers.*", "cli.*"},
    ),
    ("connection", {"listener", "sockets"}),
    ("iostream", {"listener"}),
    ("plain", {"connection", "iostream"}),
    ("select", {"poller", "cli.*"}),
    ("random", {"registry", "cli.*"}),
    ("signal", {"lifecycle", "workers.*", "cli.*"}),
    ("tracing", {"app"}),
    ("opentelemetry", {"tracing"}),
    ("prometheus_client", {"metrics", "handlers.health", "workers.*"}),
    ("structlog", {"log"}),
    ("nats", {"brokers.nats.*"}),
    ("redis", {"brokers.redis.*"}),
    ("hiredis", {"brokers.redis.link"}),
    ("pydantic", {"config", "values", "workers.*", "cli.serve"}),
    ("pydantic_settings", {"config"}),
    ("jwt", {"tokens", "keys", "jwks", "minting", "cli.*"}),
    ("cryptography", {"keys", "jwks", "minting"}),
    ("click", {"cli", "cli.*"}),
    ("httpx", {"cli.*"}),
]

KNOWN_TO_CLIENTS = {"__init__", "config", "tokens", "log", "cli", "cli.*"}
"""All of the package that the commands know, but `serve`: they are clients, or read the configuration."""

SOCKET_CALLS = {"recv", "recv_into", "recvfrom", "recvmsg", "send", "sendall", "sendfile", "sendmsg", "sendto"}


class Arrow(NamedTuple):
    """One module imports another. `at_once`: when it is imported itself, rather than in a function or for types."""

    importer: str
    imported: str
    at_once: bool


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


SOURCES = {module_name(path): path.read_text() for path in sorted(ROOT.rglob("*.py"))}


def arrows_of(module: str, source: str) -> Iterator[Arrow]:
    """Read the import statements of a module, wherever they stand in it."""
    tree = ast.parse(source)
    at_once = set(statements_run_at_once(tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for imported in names_of(node):
                yield Arrow(module, imported, node in at_once)


def statements_run_at_once(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            continue
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield statement


def names_of(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (own_name(alias.name) for alias in node.names)
        return
    assert node.level == 0, "relative imports are not read here"
    assert node.module
    for alias in node.names:
        submodule = own_name(f"{node.module}.{alias.name}")
        yield submodule if submodule in SOURCES else own_name(node.module)


def own_name(name: str) -> str:
    """The name within the package, or the top-level name of a library."""
    package, _, rest = name.partition(".")
    return (rest or "__init__") if package == "tornado_sse" else package


ARROWS = [arrow for module, source in SOURCES.items() for arrow in arrows_of(module, source)]


def pure_violations(arrows: list[Arrow]) -> list[str]:
    allowed = PURE | PURE_LIBRARIES
    return [f"{a.importer} -> {a.imported}" for a in arrows if a.importer in PURE and a.imported not in allowed]


def importer_violations(arrows: list[Arrow], imported: str, allowed: set[str]) -> list[str]:
    return [
        f"{arrow.importer} -> {arrow.imported}"
        for arrow in arrows
        if fnmatchcase(arrow.imported, imported) and not any(fnmatchcase(arrow.importer, name) for name in allowed)
    ]


def socket_calls(source: str) -> set[str]:
    """The names of methods that move bytes through a socket."""
    names = {node.attr for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}
    return names & SOCKET_CALLS


def test_every_pure_module_is_there() -> None:
    assert set(SOURCES) >= PURE


def test_the_core_is_pure() -> None:
    assert pure_violations(ARROWS) == []


@pytest.mark.parametrize(("imported", "allowed"), IMPORTERS, ids=[imported for imported, _ in IMPORTERS])
def test_only_some_may_import(imported: str, allowed: set[str]) -> None:
    assert importer_violations(ARROWS, imported, allowed) == []


def test_the_commands_know_nothing_of_the_server() -> None:
    strangers = {
        (arrow.importer, arrow.imported)
        for arrow in ARROWS
        if arrow.importer.startswith("cli.") and arrow.imported in SOURCES and not is_known_to_clients(arrow.imported)
    }
    assert strangers == {("cli.serve", "lifecycle"), ("cli.serve", "workers.supervisor")}


def is_known_to_clients(module: str) -> bool:
    return any(fnmatchcase(module, name) for name in KNOWN_TO_CLIENTS)


@pytest.mark.parametrize("imported", [imported for imported, allowed in IMPORTERS if allowed])
def test_every_line_of_the_table_speaks_of_something(imported: str) -> None:
    assert any(fnmatchcase(arrow.imported, imported) for arrow in ARROWS)


def test_few_move_bytes_through_a_socket() -> None:
    server = {module: source for module, source in SOURCES.items() if not module.startswith(("cli.", "brokers."))}
    callers = {module: calls for module, source in server.items() if (calls := socket_calls(source))}
    # Fan-out calls the `send` that a stream lends it, and knows no more of a socket than that.
    assert callers == {
        "connection": {"recv", "recv_into", "send"},  # until the answer is over, or the socket is a stream's
        "stream": {"send", "recv_into"},
        "fanout": {"send"},
        "systemd": {"send"},  # to the service manager
    }


def test_imports_never_go_in_a_circle() -> None:
    graph: dict[str, set[str]] = {module: set() for module in SOURCES}
    for arrow in ARROWS:
        if arrow.at_once and arrow.imported in SOURCES:
            graph[arrow.importer].add(arrow.imported)
    assert len(list(TopologicalSorter(graph).static_order())) == len(SOURCES)


# The reading itself


@pytest.mark.parametrize(
    ("source", "arrows"),
    [
        ("import socket", [("socket", True)]),
        ("import os.path, json", [("os", True), ("json", True)]),
        ("from tornado.web import Application", [("tornado", True)]),
        ("from tornado_sse import __version__", [("__init__", True)]),
        ("from tornado_sse import topic, event", [("topic", True), ("event", True)]),
        ("from tornado_sse.brokers.memory import MemoryBroker", [("brokers.memory", True)]),
        ("from tornado_sse.brokers import memory", [("brokers.memory", True)]),
        ("import tornado_sse.lifecycle", [("lifecycle", True)]),
        ("from tornado_sse.cli import main", [("cli", True)]),
        ("def f():\n    import time", [("time", False)]),
        ("if TYPE_CHECKING:\n    from tornado_sse.app import EventServer", [("app", False)]),
    ],
)
def test_arrows_are_read(source: str, arrows: list[tuple[str, bool]]) -> None:
    assert list(arrows_of("m", source)) == [Arrow("m", *arrow) for arrow in arrows]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("hub", "import tornado.ioloop"),
        ("hub", "from time import monotonic"),
        ("hub", "def f():\n    import random"),
        ("outbox", "from tornado_sse import stream"),
        ("topic", "from tornado_sse.config import Settings"),
        ("publishing", "import asyncio"),
    ],
)
def test_an_impure_import_is_found(module: str, source: str) -> None:
    assert pure_violations(list(arrows_of(module, source)))


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("node", "from tornado_sse.brokers.memory import MemoryBroker"),
        ("handlers.publish", "from tornado_sse.lifecycle import serve"),
        ("handlers.publish", "from tornado_sse.cli import main"),
        ("handlers.connect", "import socket"),
        ("handlers.connect", "from tornado_sse.connection import Connection"),
        ("listener", "from tornado_sse.plain import read_plain"),
        ("registry", "from tornado_sse.handlers.base import BaseHandler"),
        ("cli.tail", "from tornado_sse.lifecycle import serve"),
        ("lifecycle", "from tornado_sse.cli.options import Refused"),
    ],
)
def test_an_arrow_that_is_not_allowed_is_found(module: str, source: str) -> None:
    arrows = list(arrows_of(module, source))
    assert any(importer_violations(arrows, imported, allowed) for imported, allowed in IMPORTERS)


def test_a_call_that_moves_bytes_is_found() -> None:
    assert socket_calls("connection.sendall(b'x'); stream.recv(5); outbox.push(1)") == {"sendall", "recv"}

"""`tornado-sse bench`: the options, and what becomes of them."""

import io
import json
import resource
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

import click

from tornado_sse.cli.bench import marker
from tornado_sse.cli.bench.audience import Audience, Wallet
from tornado_sse.cli.bench.crew import Crew, LocalCrew, Share
from tornado_sse.cli.bench.plan import Composer, Plan, Server, connect_request, shares
from tornado_sse.cli.bench.progress import Progress
from tornado_sse.cli.bench.publisher import Publisher
from tornado_sse.cli.bench.report import Result
from tornado_sse.cli.bench.runner import Runner
from tornado_sse.cli.bench.sockets import Loop, resolve
from tornado_sse.cli.bench.worker import RemoteCrew
from tornado_sse.cli.client import token_option, unreachable
from tornado_sse.cli.options import Command, settings_options
from tornado_sse.cli.tail import INTERRUPTED

RATE = 20.0
DURATION = 10.0

SPARE = 32
"""Open files of a process besides its streams."""


def _server(_context: click.Context, _argument: click.Parameter, url: str) -> Server:
    try:
        return Server.at(url)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _number(name: str, least: int, most: int, default: int | None, text: str) -> Callable[[Command], Command]:
    return click.option(
        name, type=click.IntRange(least, most), default=default, show_default=default is not None, help=text
    )


@click.command()
@click.argument("server", metavar="URL", callback=_server)
@_number("--streams", 1, 1_000_000, 100, "Streams to open.")
@click.option("--rate", type=click.FloatRange(0.01, 1_000_000), help=f"Messages a second.  [default: {RATE:g}]")
@click.option("--duration", type=click.FloatRange(0.01, 86400), help=f"Seconds of that.  [default: {DURATION:g}]")
@_number("--messages", 1, 100_000_000, None, "Publish so many as fast as the streams keep up, not at a rate.")
@click.option("--all", "everyone", is_flag=True, help="Publish to every stream of the server, not only to ours.")
@click.option("--channel", help="Publish to this channel.  [default: bench- and eight random digits]")
@click.option("--unicast", is_flag=True, help="Publish each message to one stream, in turn.")
@_number("--size", marker.LENGTH, 8_000_000, 128, "Bytes of a message.")
@_number("--batch", 1, 100_000, 1, "Messages in one request.")
@_number("--processes", 1, 64, 1, "Processes that hold the streams.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@token_option
@settings_options(["jwt_secret"])
def bench(  # noqa: PLR0913 - one parameter an option
    *,
    server: Server,
    streams: int,
    rate: float | None,
    duration: float | None,
    messages: int | None,
    everyone: bool,
    channel: str | None,
    unicast: bool,
    size: int,
    batch: int,
    processes: int,
    as_json: bool,
    token: str | None,
    config_file: Path | None,
    jwt_secret: str | None,
) -> None:
    """Load the server at URL and measure: connects, deliveries, latencies, losses.

    Opens streams, publishes, and counts what arrives. Messages go to a channel of the run's own, so that other clients
    see nothing of it. Latency is from when a message is due to its receipt, so that a slow server can't hide by
    slowing us down. Signed tokens make each stream a user of its own; with --token all are the same user's, whose cap
    then counts, and the token must allow to subscribe, to publish, and the channel.

    Exit code 0: every stream opened and stayed, nothing was lost; 1: not so; 2: wrong usage.
    """
    if everyone + unicast + (channel is not None) > 1:
        raise click.UsageError("Say where it goes: at most one of --all, --channel and --unicast.")
    if messages and (rate or duration):
        raise click.UsageError("--messages is for as fast as it goes: not with --rate or --duration.")
    plan = Plan(
        streams,
        messages or max(1, round((rate or RATE) * (duration or DURATION))),
        rate=None if messages else rate or RATE,
        batch=batch,
        size=size,
    )
    _raise_descriptor_limit(-(-streams // processes) + SPARE)
    run = secrets.token_hex(marker.RUN // 2)
    audience = Audience(run, "" if everyone or unicast else channel or f"bench-{run}", unicast)
    wallet = Wallet.open(token, config_file, jwt_secret, audience)
    runner = _runner(plan, server, audience, wallet, shares(streams, processes))
    try:
        result = runner.run()
    finally:
        runner.close()
    _print(result, as_json=as_json)


def _raise_descriptor_limit(wanted: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if wanted > most:
        raise click.UsageError(f"A process may open {most} files, and would need {wanted}: use more --processes.")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _runner(plan: Plan, server: Server, audience: Audience, wallet: Wallet, parts: list[range]) -> Runner:
    try:
        endpoint = resolve(server.host, server.port, tls=server.tls)
    except OSError as error:
        raise click.ClickException(unreachable(server.authority, error)) from error
    loop = Loop()

    def request(index: int) -> bytes:
        name = audience.name(index)
        return connect_request(server, name, audience.channels, wallet.subscribe(name))

    def compose(opened: list[int]) -> Composer:
        return Composer(server, plan, audience.run, wallet.publish, audience.targets(opened, wallet.user))

    return Runner(
        plan,
        loop=loop,
        crews=_crews(loop, [Share(endpoint, audience.run, part.start, [*map(request, part)]) for part in parts]),
        publisher=Publisher(loop, endpoint),
        compose=compose,
        unicast=audience.unicast,
        progress=Progress(sys.stderr if sys.stderr.isatty() else io.StringIO()),
    )


def _crews(loop: Loop, parts: list[Share]) -> list[Crew]:
    if len(parts) == 1:
        return [LocalCrew(loop, parts[0])]
    return [RemoteCrew(loop, part) for part in parts]


def _print(result: Result, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(result.as_json(), indent=2))
    elif result.opened:
        click.echo(result.as_table(), nl=False)
    if result.stopped:
        click.echo(f"Error: {result.stopped}", err=True)
    sys.exit(INTERRUPTED if result.interrupted else 0 if result.is_good else 1)

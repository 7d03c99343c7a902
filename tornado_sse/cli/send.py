"""`tornado-sse send`."""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import httpx
import msgspec

from tornado_sse.cli.client import DEFAULT_USER, refusal, token_option, token_source, unreachable, url_option
from tornado_sse.cli.options import settings_options

BATCH_ITEMS = 1000
BATCH_BYTES = 1 << 20
"""Of one request from standard input: well below what a server takes by default."""


@click.command()
@click.argument("data")
@click.option("--user", help="To every stream of this user.")
@click.option("--session", help="Only to this session of the user.")
@click.option("--channel", help="To every stream that listens to this channel.")
@click.option("--all", "everyone", is_flag=True, help="To every stream.")
@click.option("--event", help="Name of the event; without one it is a message.")
@click.option("--json", "as_json", is_flag=True, help="DATA is JSON, sent as it is, not a text.")
@url_option
@token_option
@settings_options(["jwt_secret"])
def send(  # noqa: PLR0913 - one parameter an option
    *,
    data: str,
    user: str | None,
    session: str | None,
    channel: str | None,
    everyone: bool,
    event: str | None,
    as_json: bool,
    url: str,
    token: str | None,
    config_file: Path | None,
    jwt_secret: str | None,
) -> None:
    """Publish DATA and print the receipt.

    A receipt is the message's position and how many streams it reached.

    With - for DATA each line of standard input is a message of its own.
    """
    head = {"to": _target(user, session, channel, everyone=everyone)} | ({"event": event} if event else {})
    bearer = token_source(token, config_file, jwt_secret, user=DEFAULT_USER, ttl=60, scopes=["publish"])
    lines = (msgspec.json.encode({**head, "data": _parsed(text) if as_json else text}) for text in _texts(data))
    receipts = (receipt for batch in _batches(lines) for receipt in _publish(url, bearer(), batch))
    refused = sum(not _print(index, receipt) for index, receipt in enumerate(receipts))
    if refused:
        raise click.ClickException(f"{refused} refused")


def _target(user: str | None, session: str | None, channel: str | None, *, everyone: bool) -> object:
    if (user is not None) + (channel is not None) + everyone != 1:
        raise click.UsageError("Say where it goes: one of --user, --channel and --all.")
    if session is not None and user is None:
        raise click.UsageError("--session needs --user: a session belongs to a user.")
    if everyone:
        return "all"
    if channel is not None:
        return {"channel": channel}
    return {"user": user} | ({} if session is None else {"session": session})


def _texts(data: str) -> Iterator[str]:
    if data != "-":
        yield data
        return
    for line in sys.stdin.buffer:
        yield line.rstrip(b"\r\n").decode(errors="replace")


def _parsed(text: str) -> msgspec.Raw:
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise click.UsageError(f"{text[:60]!r} is not JSON: {error}") from error
    return msgspec.Raw(re.sub(r"[\r\n]", " ", text))  # a line of NDJSON; within JSON's strings there are no line ends


def _batches(lines: Iterable[bytes]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    for line in lines:
        if batch and (len(batch) == BATCH_ITEMS or sum(map(len, batch)) + len(line) > BATCH_BYTES):
            yield batch
            batch = []
        batch.append(line)
    if batch:
        yield batch


def _publish(url: str, bearer: str, lines: list[bytes]) -> list[dict[str, Any]]:
    """Publish messages as NDJSON; returns a receipt, or what is wrong, for each."""
    headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/x-ndjson"}
    try:
        response = httpx.post(f"{url}/sse/publish", content=b"\n".join(lines), headers=headers, timeout=30)
    except httpx.RequestError as error:
        raise click.ClickException(unreachable(url, error)) from error
    if not response.is_success:
        raise click.ClickException(refusal(response))
    return msgspec.json.decode(response.content, type=_Answer).receipts


class _Answer(msgspec.Struct):
    receipts: list[dict[str, Any]]


def _print(index: int, receipt: dict[str, Any]) -> bool:
    if "position" not in receipt:
        click.echo(f"message {index}: {receipt.get('error')}", err=True)
        return False
    duplicate = " duplicate" if receipt.get("duplicate") else ""
    click.echo(f"{receipt['position']} streams={receipt.get('streams')}{duplicate}")
    return True

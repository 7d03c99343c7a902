"""`make rolling`: a rolling deploy under 5,000 clients; prints how reconnects spread, and the verdict."""

import asyncio
import gc
import secrets
import sys
import tempfile
from pathlib import Path

import click

from chaos_play import write_details
from rolling_run import ENGINES, LONG, Size, rolling


@click.command
@click.option("--seed", default=lambda: secrets.token_hex(4), help="Repeats what a run drew by chance.")
@click.option("--clients", default=LONG.clients, show_default=True)
@click.option("--rate", type=float, default=LONG.rate, show_default=True, help="Messages a second.")
@click.option(
    "--drain", type=float, default=LONG.drain, show_default=True, help="Seconds for a node to let its streams go."
)
@click.option("--engine", type=click.Choice(list(ENGINES)), default="nats", show_default=True)
def main(seed: str, clients: int, rate: float, drain: float, engine: str) -> None:
    """Restart two nodes in turn under load, and hold what clients saw against what was sent."""
    gc.disable()  # its pauses would hold 5,000 clients up, and look like a stampede
    folder = Path(tempfile.mkdtemp(prefix=f"rolling-{seed}-"))
    result = asyncio.run(rolling(seed, Size(clients, rate, drain), folder, engine))
    click.echo(f"seed {seed}: {clients} clients, 2 nodes behind nginx, on {engine}")
    for line in result.summary():
        click.echo(line)
    write_details(folder, result.summary(), result.outcome.details())
    click.echo(f"details, and the nodes' logs: {folder}")
    sys.exit(not result.passed)


if __name__ == "__main__":
    main()

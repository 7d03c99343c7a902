"""`make soak`: 15,000 clients that come and go for half an hour; prints the figures and the verdict."""

import asyncio
import secrets
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import click

from soak_run import LONG, soak


@click.command
@click.option("--seed", default=lambda: secrets.token_hex(4), help="Repeats what a run drew by chance.")
@click.option("--clients", default=LONG.clients, show_default=True)
@click.option("--minutes", type=float, default=LONG.seconds / 60, show_default=True)
@click.option("--rate", type=float, default=LONG.rate, show_default=True, help="Messages a second.")
@click.option("--processes", default=LONG.processes, show_default=True, help="That the clients are spread over.")
def main(seed: str, clients: int, minutes: float, rate: float, processes: int) -> None:
    """Have clients come and go under load, and hold what the server counted and holds against what they saw."""
    folder = Path(tempfile.mkdtemp(prefix=f"soak-{seed}-"))
    size = replace(LONG, clients=clients, seconds=minutes * 60, rate=rate, processes=processes)
    result = asyncio.run(soak(seed, size, folder))
    click.echo(f"seed {seed}: {clients} clients for {minutes:g} minutes")
    for line in result.summary():
        click.echo(line)
    click.echo(f"the server's log: {folder}")
    sys.exit(not result.passed)


if __name__ == "__main__":
    main()

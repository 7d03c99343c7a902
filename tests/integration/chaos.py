"""`make chaos`: a run of three minutes; prints what befell the cluster, and the verdict."""

import asyncio
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from chaos_play import write_details
from chaos_run import LONG, Size, chaos


@click.command
@click.option("--seed", default=lambda: secrets.token_hex(4), help="Repeats what a run drew by chance.")
@click.option(
    "--seconds", type=float, default=LONG.seconds, show_default=True, help="Time for which blows fall; 0: none do."
)
@click.option("--pause", type=float, default=LONG.pause, show_default=True, help="Longest pause before a blow.")
@click.option("--clients", default=LONG.clients, show_default=True)
@click.option("--rate", type=float, default=LONG.rate, show_default=True, help="Messages a second.")
@click.option(
    "--drain", type=float, default=LONG.drain, show_default=True, help="Seconds for a node to let its streams go."
)
@click.option("--faulty", is_flag=True, help="Nodes that lose one message in a thousand.")
def main(seed: str, *, faulty: bool, **size: Any) -> None:
    """Kill, stall and restart nodes and NATS servers under load, and hold what clients saw against what was sent."""
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))
    outcome, log = asyncio.run(chaos(seed, Size(**size), folder, faulty=faulty))
    click.echo(f"seed {seed}: {size['clients']} clients, 3 nodes behind nginx, 3 NATS servers; what befell them:")
    for line in (*log, *outcome.summary()):
        click.echo(line)
    write_details(folder, log, outcome.summary(), outcome.details())
    click.echo(f"details, and the nodes' logs: {folder}")
    sys.exit(not outcome.passed)


if __name__ == "__main__":
    main()

"""The process under attack, seen from outside: what it counts, and what it takes."""

from pathlib import Path

from serve_support import Process

MIB = 1 << 20


async def metric(process: Process, sample: str) -> float:
    """Read a sample by its full name, labels included; 0 if there is none."""
    lines = (await process.ask("/metrics", user=None, admin=True)).body.decode().splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == sample), 0.0)


def resident(process: Process) -> int:
    """Bytes of memory that the process has of its own; the kernel's buffers for its sockets are not among them."""
    lines = Path(f"/proc/{process.running.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))

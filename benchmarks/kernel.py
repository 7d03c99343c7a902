"""What the kernel says of processes and of itself."""

import os
from pathlib import Path


def cpu(pid: int) -> float:
    """Seconds of CPU used so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss(pid: int) -> float:
    """KiB of resident memory, shared pages in proportion."""
    return _field(f"/proc/{pid}/smaps_rollup", "Pss:")


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def slab() -> float:
    """KiB of the kernel's own objects: sockets, files, watched descriptors among them."""
    return _field("/proc/meminfo", "Slab:")


def available() -> float:
    """KiB that programs could still have."""
    return _field("/proc/meminfo", "MemAvailable:")


def tcp() -> dict[str, int]:
    """Sockets (`inuse`, `orphan`, `tw`, `alloc`), and pages in their buffers (`mem`)."""
    lines = Path("/proc/net/sockstat").read_text().splitlines()
    words = next(line for line in lines if line.startswith("TCP:")).split()[1:]
    return {name: int(value) for name, value in zip(words[::2], words[1::2], strict=True)}


def _field(path: str, name: str) -> float:
    lines = Path(path).read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(name)))

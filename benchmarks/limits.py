"""What gives way when streams grow, how much, and how that is reckoned: a table of docs/scale.md."""

from collections.abc import Iterator
from dataclasses import replace
from math import ceil, sqrt

from hubs import BACKLOG, HUBS, NODE, WORKERS, ZONES, Hub, interest, learning
from rows import Row
from units import Units, gib, kib, thousands, us

PORTS = 60999 - 32768 + 1
"""What Linux gives by default from one address to one address and port (`ip_local_port_range`)."""

HISTORY = 256 << 20
"""Default of `--history-bytes`."""

EACH = NODE // WORKERS


def limits(units: Units) -> Iterator[Row]:
    yield "what", "how much", "reckoned"
    yield from _of_a_node(units)
    yield from _of_a_hub(units, HUBS[1])
    yield from _of_one_hub_for_all(units, HUBS[3])


def _of_a_node(units: Units) -> Iterator[Row]:
    deviation = sqrt(EACH * (1 - 1 / WORKERS))
    resumes = WORKERS / units.resume
    whole = f"{EACH * units.delivery * 1000:.0f} ms"
    files = f"{NODE:,} / {WORKERS} = {EACH:,}, and five deviations of {deviation:.0f}: the kernel deals by chance"
    yield "open files of a worker", f"{EACH + 5 * deviation:,.0f}", files
    ports = f"{NODE:,} streams / {PORTS:,} ports from one address to one address and port"
    yield "addresses of a proxy for each node", f"{ceil(NODE / PORTS)}", ports
    wait = f"{WORKERS} x 4,096 (`somaxconn`); at {resumes:,.0f} resumes a second {BACKLOG / resumes:.1f} s of work"
    yield "connections that a node lets wait", f"{BACKLOG:,}", wait
    turn = f"1 / ({EACH:,} streams of a worker x {us(units.delivery)} = {whole})"
    yield "messages to all a second, until they gather", f"{1 / EACH / units.delivery:.1f}", turn
    yield "a user's message behind one to all", whole, "the same: a node delivers in order"
    quiet = f"{NODE:,} streams x {units.quiet * 1e6:.1f} µs a second, most of it keepalives"
    yield "cores of a full node in quiet", f"{NODE * units.quiet:.2f}", quiet


def _of_a_hub(units: Units, hub: Hub) -> Iterator[Row]:
    rate = f"{thousands(units.publishes)} acknowledged a second"
    yield (
        "a message to every user of a hub",
        f"{hub.streams / units.publishes:.0f} s",
        f"{hub.streams:,} users / {rate}",
    )
    kept = HISTORY / units.stored
    yield (
        "messages that `--history-bytes` holds",
        f"{kept / 1e6:.1f} million",
        f"256 MiB / {units.stored:.0f} bytes; {kept / units.publishes:.0f} s at {rate}, `--history-ttl` is 300 s",
    )


def _of_one_hub_for_all(units: Units, hub: Hub) -> Iterator[Row]:
    own, more = hub.streams // hub.servers, replace(hub, servers=hub.servers + 1)
    known = f"{own:,} x {kib(units.own_interest)} + {hub.streams - own:,} x {kib(units.other_interest)}"
    spared = f"{known}; with one server more {gib(interest(units, more))}"
    yield "memory for interest, 10 million in one hub", gib(interest(units, hub)), spared
    yield (
        "a lost zone of that hub, at each engine server",
        f"{learning(units, hub) / ZONES:.0f} s of a core",
        "a third of the users, each told once more to its own server and to the others",
    )

"""What came of a soak: what the server counted and holds, against what clients saw. Pure."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from chaos_history import Sent
from chaos_play import SHOWN
from soak_memory import BLOCKS, Trend, trend
from soak_visitors import Seen

KEPT = 60.0
"""Seconds for which the server remembers anything: only then memory can be level."""

LEFT = "ended without farewell"
"""What a client sees that left. Any other end means that server or clients did not keep up: is the machine busy?"""


@dataclass(frozen=True)
class Sample:
    """A look at the server: memory in KiB, CPU in seconds, and how many descriptors it has open."""

    at: float
    memory: float
    cpu: float
    descriptors: int


@dataclass
class Soak:
    """What came of it. `counted` is what the server counted, `held` what it holds at the end, `before` at first."""

    sent: list[Sent]
    seen: Seen
    counted: Counter[str]
    before: Counter[str]
    held: Counter[str]
    samples: list[Sample]
    problems: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not list(self.faults())

    def expected(self) -> Counter[str]:
        """Count what the server should have counted, from what clients saw."""
        seen, refused = self.seen, self.seen.figures["refused"]
        return +Counter(
            {
                "streams_opened_total": seen.opened,
                'streams_closed_total{reason="client_gone"}': seen.opened,
                "messages_delivered_total": seen.received,
                'messages_published_total{result="accepted"}': len(self.sent) + 1,
                'resumes_total{result="recovered"}': seen.resumed,
                'connects_rejected_total{reason="auth"}': refused,
                'auth_failures_total{reason="expired"}': refused,
            }
        )

    def ends(self) -> Counter[str]:
        """Count how connections ended, but for the last of each client."""
        others = ("left", "refused", "finished", "publish")
        return Counter({why: n for why, n in self.seen.figures.items() if not why.startswith(others)})

    def trend(self) -> Trend | None:
        """Tell how memory grew in the second half, when the allocator has settled; None: there was no time for it."""
        end = self.samples[-1].at
        level = [(one.at, one.memory) for one in self.samples if one.at >= max(KEPT, end / 2)]
        return trend(level) if end >= 3 * KEPT and len(level) >= BLOCKS else None

    def faults(self) -> Iterator[str]:
        """Tell what is wrong."""
        yield from (f"{one.who}: {one.fault}: {one.text}" for one in self.seen.verdict.complaints[:SHOWN])
        yield from _differences("clients saw", self.ends(), Counter({LEFT: self.seen.figures["left"]}))
        yield from _differences("counted", self.counted, self.expected())
        yield from _differences("held", self.held, self.before)
        memory = self.trend()
        if memory and not memory.is_flat:
            yield f"memory grows: {memory}"
        yield from self.problems

    def summary(self) -> Iterator[str]:
        """Tell the figures, and the verdict."""
        seen, first, last = self.seen, self.samples[0], self.samples[-1]
        seconds = last.at - first.at
        yield f"published: {len(self.sent)}; ends of streams, answers: {_listed(seen.figures)}"
        left = seen.figures["left"] / seconds
        yield f"streams opened: {seen.opened}, of them resumed: {seen.resumed}; {left:.0f} left in a second"
        yield f"delivered, as counted: {self.counted['messages_delivered_total']}; received: {seen.received}"
        yield f"held at first: {_listed(self.before)}; at the end: {_listed(self.held)}"
        yield f"CPU: {(last.cpu - first.cpu) / seconds:.0%} of a core; at most {self.most()} descriptors"
        yield f"memory: {first.memory:.0f} KiB at first, {last.memory:.0f} at last, {self.trend() or 'not judged'}"
        yield from (f"  {fault}" for fault in self.faults())
        yield "PASSED" if self.passed else "FAILED"

    def figure(self) -> str:
        """Tell the most important in a line."""
        return (
            f"{self.seen.opened} streams opened, {self.counted['messages_delivered_total']} deliveries counted, "
            f"{self.seen.received} received; memory {self.trend() or 'not judged'}"
        )

    def most(self) -> int:
        """Count the descriptors that were open at most."""
        return max(one.descriptors for one in self.samples)


def _differences(what: str, found: Counter[str], expected: Counter[str]) -> Iterator[str]:
    for name in sorted(found.keys() | expected.keys()):
        if found[name] != expected[name]:
            yield f"{what} {name}: {found[name]}, and it should be {expected[name]}"


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))

"""The order of a node's messages: what arrives live, what is read again, and what is missing between the two.

Everything that decides about order and holes lives here; it does no I/O. Messages arrive live with the sequence of the
one before on the same subject, so a hole shows as soon as a subject goes on. Then, and after an outage, the arrivals
wait (`hold`) while history is read from the last sequence up to which the channel is known to have been whole
(`verified`), `fill` puts both in order, and `resume` goes on. What can no longer be handed in, in order, is told as
lost.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from tornado_sse.brokers.base import Command, Receiver
from tornado_sse.brokers.nats.codec import interest_in
from tornado_sse.message import Message

Item = Message | Command | None


class Arrival(NamedTuple):
    """A message of the stream.

    `previous` is the sequence of the one before on its subject; None: not told. `read` makes what it stands for; None
    if it is nothing to be handed in.
    """

    sequence: int
    subject: str
    previous: int | None
    read: Callable[[], Item]


class Interest:
    """One subscription: how many want it, from which sequence on (None: not known yet), what its subjects saw last."""

    __slots__ = ("count", "seen", "since")

    def __init__(self, count: int = 0) -> None:
        self.count = count
        self.since: int | None = None
        self.seen: dict[str, int] | None = None  # made when first needed: most streams wait in silence

    def saw(self, subject: str) -> int | None:
        """Return the highest sequence of the subject that was handed in, or from which it counts; None: not known."""
        return self.since if self.seen is None else self.seen.get(subject, self.since)

    def note(self, subject: str, sequence: int) -> None:
        """Note that everything of the subject up to the sequence was handed in."""
        if self.seen is None:
            self.seen = {}
        self.seen[subject] = sequence


class Feed:
    """Hands messages to a receiver, in order, each once.

    `suspect` is called when a hole shows; then arrivals wait for `resume`. `reached`: everything up to this sequence
    was handed in or told as lost.
    """

    def __init__(self, receiver: Receiver, suspect: Callable[[], None]) -> None:
        self._receiver = receiver
        self._suspect = suspect
        self.interests: dict[str, Interest] = {}
        self.reached = 0
        self.verified = 0
        self._handed: list[int] = []  # sequences above `verified`
        self._held: list[Arrival] | None = []

    @property
    def waiting(self) -> int:
        """How many arrivals wait for a fill."""
        return len(self._held or ())

    @property
    def is_live(self) -> bool:
        """Whether arrivals are handed in at once."""
        return self._held is None

    def hold(self) -> None:
        """Let arrivals wait until `resume`, `begin` or `renew`."""
        if self._held is None:
            self._held = []

    def forget_held(self) -> None:
        """Throw the waiting arrivals away: their connection ended, history has them all."""
        self._held = []

    def arrive(self, arrival: Arrival) -> None:
        """Take a message that arrives live."""
        if self._held is not None:
            self._held.append(arrival)
        elif hole := self._hole_before(arrival):
            if hole[0] <= self.verified:  # a fill begins above, and would find it too late
                self._receiver.lost(hole[0], min(hole[1], self.verified))
            self._held = [arrival]
            self._suspect()
        else:
            self._take(arrival)

    def begin(self, upto: int) -> None:
        """Begin behind a sequence: what was before is nobody's on this node."""
        self.reached = self.verified = upto
        self._handed.clear()
        for interest in self.interests.values():
            interest.since, interest.seen = upto, None
        self._receiver.reached(upto)
        for _ in self.resume():  # at once: of a time that is over, or has just begun, not much waits
            pass

    def renew(self, epoch: str, upto: int) -> None:
        """History was lost: begin again, in another epoch."""
        self._receiver.renew(epoch, upto)
        self.begin(upto)

    def count_from(self, names: Iterable[str], sequence: int) -> None:
        """Note from which sequence on interest counts, where that is new: all above it will arrive."""
        for name in names:
            interest = self.interests.get(name)
            if interest is not None and interest.since is None:
                interest.since = sequence

    def came_back(self, sequence: int) -> None:
        """Note that a probe came back: what was before it is here, unless a hole is being looked into."""
        if self.is_live:
            self.verify(sequence)

    def verify(self, sequence: int) -> None:
        """Note that the channel was whole up to the sequence."""
        self.verified = max(self.verified, sequence)
        self._handed = [number for number in self._handed if number > self.verified]
        self.reach(sequence)

    def reach(self, sequence: int) -> None:
        """Tell how far delivery is, where no message does."""
        if sequence > self.reached:
            self.reached = sequence
            self._receiver.reached(sequence)

    def fill(self, read: Sequence[Arrival], upto: int) -> Iterator[None]:
        """Take what history holds of all subjects above `verified` up to `upto`, in order, step by step.

        A sequence that is not there was discarded, and may have been anybody's.
        """
        handed = set(self._handed)
        self._tell_missing(read, upto, handed)
        for arrival in read:
            if arrival.sequence > self.reached:
                self._take(arrival)
            elif arrival.sequence not in handed and self._concerns(arrival):
                self._receiver.lost(arrival.sequence, arrival.sequence)
            yield
        self.verify(upto)

    def resume(self) -> Iterator[None]:
        """Go on live, first with what waits and comes meanwhile, step by step."""
        while self._held:
            held, self._held = self._held, []
            for arrival in held:
                if hole := self._hole_before(arrival):  # it was not in history either
                    self._receiver.lost(*hole)
                self._take(arrival)
                yield
        self._held = None

    def _hole_before(self, arrival: Arrival) -> tuple[int, int] | None:
        """Return between which sequences something of the subject is missing; None: nothing is."""
        interest = self.interests.get(interest_in(arrival.subject))
        saw = interest.saw(arrival.subject) if interest else None
        if saw is None or arrival.previous is None or arrival.previous <= saw:
            return None
        return saw + 1, arrival.previous

    def _tell_missing(self, read: Sequence[Arrival], upto: int, handed: Container[int]) -> None:
        ends = [self.verified, *(arrival.sequence for arrival in read), upto + 1]
        holes = [(before + 1, after - 1) for before, after in pairwise(ends) if after - before > 1]
        holes = [hole for hole in holes if any(number not in handed for number in range(hole[0], hole[1] + 1))]
        if holes:
            self._receiver.lost(holes[0][0], holes[-1][1])

    def _concerns(self, arrival: Arrival) -> bool:
        interest = self.interests.get(interest_in(arrival.subject))
        return interest is not None and interest.since is not None and interest.since < arrival.sequence

    def _take(self, arrival: Arrival) -> None:
        interest = self.interests.get(interest_in(arrival.subject))
        if interest is None:
            return
        saw = interest.saw(arrival.subject)
        if arrival.sequence <= self.reached:
            if saw is not None and saw < arrival.sequence:  # from another way than the rest, and too late
                self._receiver.lost(arrival.sequence, arrival.sequence)
                interest.note(arrival.subject, arrival.sequence)
            return
        self.reached = arrival.sequence
        self._handed.append(arrival.sequence)
        interest.note(arrival.subject, arrival.sequence)
        self._hand_in(arrival)

    def _hand_in(self, arrival: Arrival) -> None:
        item = arrival.read()
        if isinstance(item, Message):
            self._receiver.deliver([item])
        elif item is not None:
            self._receiver.obey(item)

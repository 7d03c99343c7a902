"""The seam to a broker: what keeps history and carries messages between nodes.

The contract, held by one conformance suite against every broker:

- `publish` gives each draft a position; positions grow with every message of the whole hub, over all topics, and are
  never used twice. It returns once the broker would not lose the message under its own promises, or raises
  `Unavailable`: never a success that is lost. A draft whose idempotency key was seen within the window, and among the
  keys that are remembered, is not published again; its receipt carries the first position.
- Every message of a topic with interest on this node reaches `deliver` at least once, in the order of positions over
  all topics of the node; what comes twice is dropped by its position before `deliver` sees it.
- `replay` returns what was published to the topics after a sequence. It is complete up to `upto`: everything above
  `upto` reaches `deliver`. What is gone is told by `lost`, never passed over.
- What was missed while the broker was out of reach is fetched and handed in, in order, before live messages go on; what
  can't be is told by `Receiver.lost`, or by `Receiver.renew` if history as a whole is gone.
- `announce` reaches every node, this one included, through `obey`.
- `tell` reaches every node through `hear`, if all goes well: at most once, in the order that one node tells it, beside
  the messages. Nothing of it is kept.
- The epoch changes when, and only when, history was lost or sequences could be used again.

Example: at epoch `a`, m1 goes to user u, m2 to all, m3 to user v. A stream of u that saw `a-1` is resumed by
`replay([all, user u, ...], after=1)` with m2, `upto=3`, `lost=0`; the next message it gets live is above 3.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import msgspec

from tornado_sse.message import Draft, Message
from tornado_sse.position import Position
from tornado_sse.topic import Topic


class Published(msgspec.Struct, frozen=True, gc=False):
    """What became of a draft: its position, and whether it had been published before."""

    position: Position
    duplicate: bool


class Past(NamedTuple):
    """What a stream missed: `messages` in order, complete up to sequence `upto`, save for what is gone.

    `lost` is the highest sequence that is gone, 0: none is.
    """

    messages: Sequence[Message]
    upto: int
    lost: int


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close all streams of a session; `revoked` closes all of the user's, and `session` is empty."""

    user: str
    session: str = ""
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class Refresh:
    """Let a session's streams end at `expires_at` (unix seconds), if that is later than they would.

    Only those whose every channel is among `channels`, which are names or patterns.
    """

    user: str
    session: str
    channels: tuple[str, ...]
    expires_at: float


Command = Disconnect | Refresh


@dataclass(frozen=True, slots=True)
class Health:
    """`up`: publishing would work now. `lag` is how many messages this node is known to be behind."""

    up: bool
    lag: int = 0


class Receiver(Protocol):
    """The node as its broker sees it. All of it is called on the node's event loop, and raises nothing."""

    def deliver(self, messages: Sequence[Message]) -> None:
        """Take messages, in the order of their positions, each once."""

    def reached(self, upto: int) -> None:
        """Take note that all up to this sequence was handed in: where a node has few topics, no message says so."""

    def obey(self, command: Command) -> None:
        """Carry out a command."""

    def hear(self, words: bytes) -> None:
        """Take what a node told, this one or another."""

    def lost(self, first: int, last: int) -> None:
        """Take note, between two delivers, that of the sequences `first` to `last` some are missing here, for good."""

    def renew(self, epoch: str, upto: int) -> None:
        """Take note, between two delivers, that history was lost: positions go on as `epoch`, above `upto`."""


class BrokerProblem(Exception):
    """The engine won't do: it is set up otherwise than the settings want, or won't let us in. The text says why."""


class Broker(ABC):
    """A broker as one node sees it. All methods are called on the node's event loop."""

    alone: ClassVar[bool] = False
    """Whether there can be no other node."""

    epoch: str

    @abstractmethod
    async def start(self, receiver: Receiver) -> None:
        """Connect; from now on messages and commands go to the receiver. Sets `epoch`.

        Raises BrokerProblem, or Unavailable: then it may be started again.
        """

    @abstractmethod
    async def close(self) -> None:
        """Let go of everything; nothing is delivered afterwards."""

    @abstractmethod
    async def publish(self, drafts: Sequence[Draft]) -> list[Published]:
        """Number, keep and carry the drafts, in order. Raises Unavailable: then some may have gone all the same."""

    @abstractmethod
    async def subscribe(self, topics: Sequence[Topic]) -> None:
        """Take interest in the topics: counted, so that each call wants its `unsubscribe`. Raises Unavailable."""

    @abstractmethod
    def unsubscribe(self, topics: Sequence[Topic]) -> None:
        """Give up the interest of one `subscribe`."""

    @abstractmethod
    async def replay(self, topics: Sequence[Topic], after: int | None) -> Past:
        """Return what was published to the topics after a sequence; None: nothing, only `upto`. Raises Unavailable."""

    @abstractmethod
    async def announce(self, command: Command) -> None:
        """Tell every node. Raises Unavailable."""

    @abstractmethod
    async def tell(self, words: bytes) -> None:
        """Tell every node, of whom some may not hear it: at most a MiB. Raises Unavailable."""

    @abstractmethod
    def health(self) -> Health:
        """Say how things stand, at once, from what is known."""

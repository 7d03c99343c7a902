"""The seam to a broker: what keeps history and carries messages between nodes.

The contract, held by one conformance suite against every broker:

- `publish` gives each draft a position; positions grow with every message of the whole hub, over all topics, and are
  never used twice. It returns once the broker would not lose the message under its own promises, or raises
  `Unavailable`: never a success that is lost. A draft whose idempotency key was seen within the window, and among the
  keys that are remembered, is not published
  again; its receipt carries the first position.
- Every message of a topic with interest on this node reaches `deliver` at least once, in the order of positions over
  all topics of the node; what comes twice is dropped by its position before `deliver` sees it.
- `replay` returns what was published to the topics after a sequence. It is complete up to `upto`: everything above
  `upto` reaches `deliver`. What is gone is told by `lost`, never passed over.
- `announce` reaches every node, this one included, through `command`.
- The epoch changes when, and only when, history was lost or sequences could be used again.

Example: at epoch `a`, m1 goes to user u, m2 to all, m3 to user v. A stream of u that saw `a-1` is resumed by
`replay([all, user u, ...], after=1)` with m2, `upto=3`, `lost=0`; the next message it gets live is above 3.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tornado_sse.message import Draft, Message
from tornado_sse.position import Position
from tornado_sse.topic import Topic


class Published(NamedTuple):
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
class Health:
    """`up`: publishing would work now. `lag` is how many messages this node is known to be behind."""

    up: bool
    lag: int = 0


Deliver = Callable[[Sequence[Message]], None]
Command = Callable[[Disconnect], None]


class Broker(ABC):
    """A broker as one node sees it. All methods are called on the node's event loop."""

    epoch: str

    @abstractmethod
    async def start(self, deliver: Deliver, command: Command) -> None:
        """Connect; from now on messages go to `deliver` and commands to `command`. Sets `epoch`."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of everything; nothing is delivered afterwards."""

    @abstractmethod
    async def publish(self, drafts: Sequence[Draft]) -> list[Published]:
        """Number, keep and carry the drafts, in order, all or none. Raises Unavailable."""

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
    async def announce(self, command: Disconnect) -> None:
        """Tell every node. Raises Unavailable."""

    @abstractmethod
    def health(self) -> Health:
        """Say how things stand, at once, from what is known."""

"""How commands read on the wire, of whichever engine: JSON."""

import msgspec

from tornado_sse.brokers.base import Command, Disconnect, Refresh


class _Carried(msgspec.Struct, omit_defaults=True):
    """The fields of a Disconnect, or `refresh` alone: who knows none must not take it for a Disconnect."""

    user: str | None = None
    session: str = ""
    revoked: bool = False
    refresh: Refresh | None = None


_decoder = msgspec.json.Decoder(_Carried)


def encode(command: Command) -> bytes:
    """Make a command fit to travel."""
    if isinstance(command, Refresh):
        return msgspec.json.encode(_Carried(refresh=command))
    return msgspec.json.encode(_Carried(command.user, command.session, command.revoked))


def decode(text: bytes | str) -> Command:
    """Read what `encode` made. Raises ValueError; RecursionError if it is nested beyond measure."""
    carried = _decoder.decode(text)
    if carried.refresh is not None:
        return carried.refresh
    if carried.user is None:
        raise ValueError("no command")
    return Disconnect(carried.user, carried.session, carried.revoked)

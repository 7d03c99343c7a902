"""The service manager that started us, systemd or one that speaks like it: what it is told, and what it hands over.

sd_notify(3) and sd_listen_fds(3): a datagram to a socket that the environment names, and open descriptors from 3 on.
"""

import socket
import time
from collections.abc import Iterable, MutableMapping
from contextlib import suppress

from tornado_sse.config import ConfigProblem
from tornado_sse.ticker import Ticker

FIRST = 3
"""The first descriptor handed over."""

ADMIN = "admin"
"""What a socket for the admin listener is named (FileDescriptorName=); all others are the public listener's."""

PATIENCE = 0.5
"""Seconds to wait for a manager that does not read what it is told."""

GRACE = 5.0
"""Seconds beyond the drain that the manager is asked for at a stop."""

MICROSECONDS = 1_000_000


class ServiceManager:
    """Whoever started this process. One that wants to be told nothing, the default, is not.

    `address` is its socket, a path or, with `@` in front, an abstract name. It is told every half of `watchdog` seconds
    that the loop turns; 0: never. `public` and `admin` are listening sockets that it handed over.
    """

    def __init__(
        self,
        address: str = "",
        watchdog: float = 0.0,
        public: Iterable[socket.socket] = (),
        admin: Iterable[socket.socket] = (),
    ) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog = Ticker(lambda: self._tell("WATCHDOG=1"), watchdog / 2) if watchdog else None
        self.public = list(public)
        self.admin = list(admin)

    @classmethod
    def named_in(cls, env: MutableMapping[str, str], pid: int) -> "ServiceManager":
        """Read what is meant for the process `pid`, and take it out, for no process that we start may speak for us.

        Raises ConfigProblem for a socket that can't be listened on by us.
        """
        address = env.pop("NOTIFY_SOCKET", "")
        interval, whom = env.pop("WATCHDOG_USEC", "0"), env.pop("WATCHDOG_PID", str(pid))
        watchdog = int(interval) / MICROSECONDS if whom == str(pid) else 0.0
        named = _handed_over(env, pid)
        public = (one for name, one in named if name != ADMIN)
        return cls(address, watchdog, public, (one for name, one in named if name == ADMIN))

    def ready(self, status: str = "") -> None:
        """Say that we serve, or serve again after `reloading`, and from now on that the loop turns."""
        self._tell("READY=1", f"STATUS={status}" if status else "")
        if self._watchdog and not self._watchdog.is_running:
            self._watchdog.start()

    def reloading(self) -> None:
        """Say that settings are read anew; `ready` is to follow."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={int(time.monotonic() * MICROSECONDS)}")

    def stopping(self, seconds: float, status: str) -> None:
        """Say that we stop, and will take `seconds` for it."""
        patience = int((seconds + GRACE) * MICROSECONDS)
        self._tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={patience}", f"STATUS={status}")

    def _tell(self, *fields: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as telling, suppress(OSError):
            telling.settimeout(PATIENCE)
            telling.connect(self._address)
            telling.send("\n".join(filter(None, fields)).encode())


def _handed_over(env: MutableMapping[str, str], pid: int) -> list[tuple[str, socket.socket]]:
    """Take the sockets that were handed to the process `pid`, with their names."""
    count, whom = int(env.pop("LISTEN_FDS", "0")), env.pop("LISTEN_PID", "")
    names = env.pop("LISTEN_FDNAMES", "").split(":")
    if whom != str(pid):
        return []
    names += [""] * (count - len(names))
    return [(name, _listening(FIRST + number)) for number, name in zip(range(count), names, strict=False)]


def _listening(descriptor: int) -> socket.socket:
    try:
        one = socket.socket(fileno=descriptor)
        listens = one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ConfigProblem([f"descriptor {descriptor} is no socket: {error.strerror}"]) from error
    if one.family not in (socket.AF_INET, socket.AF_INET6) or not listens:
        one.close()
        raise ConfigProblem([f"descriptor {descriptor} is no listening TCP socket: ListenStream= wants a port"])
    one.settimeout(0)
    one.set_inheritable(False)
    return one

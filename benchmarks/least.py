"""The least that a server of event streams can do in Python: what limit.c does, without a loop or a framework."""

import resource
import select
import socket
import sys

STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
DONE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
LENGTH = b"content-length: "


class Server:
    """Answers a GET with a stream; the body of a POST is a frame, which goes out with one send() a stream."""

    def __init__(self, port: int) -> None:
        self._listening = socket.create_server(("127.0.0.1", port), backlog=4096)
        self._listening.settimeout(0)
        self._epoll = select.epoll()
        self._epoll.register(self._listening.fileno(), select.EPOLLIN)
        self._connections: dict[int, socket.socket] = {}
        self._requests: dict[int, bytes] = {}
        self._streams: dict[int, socket.socket] = {}

    def run(self) -> None:
        while True:
            for fd, _ in self._epoll.poll():
                if fd == self._listening.fileno():
                    self._accept()
                else:
                    self._read(fd, self._connections[fd])

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except BlockingIOError:
                return
            connection.settimeout(0)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections[connection.fileno()] = connection
            self._epoll.register(connection.fileno(), select.EPOLLIN)

    def _read(self, fd: int, connection: socket.socket) -> None:
        data = connection.recv(65536)
        if not data:
            del self._connections[fd]
            self._streams.pop(fd, None)
            connection.close()
            return
        request = self._requests.pop(fd, b"") + data
        head, end, body = request.partition(b"\r\n\r\n")
        if not end or len(body) < _length(head):
            self._requests[fd] = request
        elif head.startswith(b"GET"):
            connection.send(STREAM)
            self._streams[fd] = connection
        else:
            frame = b"%x\r\n%b\r\n" % (len(body), body)
            for send in [stream.send for stream in self._streams.values()]:
                send(frame)
            connection.send(DONE)


def _length(head: bytes) -> int:
    at = head.lower().find(LENGTH)
    return 0 if at < 0 else int(head[at + len(LENGTH) :].partition(b"\r")[0])


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    server = Server(int(sys.argv[1]))
    print("listening", flush=True)
    server.run()

"""A real nginx before several nodes, set up as README says."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from nats_support import free_port

DESCRIPTORS = 20_000
PATIENCE = 10.0
README = Path(__file__).parents[2] / "README.md"

CONFIG = """
daemon off;
worker_processes 1;
worker_rlimit_nofile {descriptors};
error_log {folder}/error.log;
pid {folder}/pid;
events {{ worker_connections {descriptors}; }}
http {{
    access_log off;
    client_body_temp_path {folder};
    proxy_temp_path {folder};
    fastcgi_temp_path {folder};
    uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    upstream nodes {{
        {nodes}
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        add_header X-Node $upstream_addr;
        {location}
    }}
}}
"""


def program() -> str:
    path = shutil.which("nginx", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail("the program nginx is not installed")
        pytest.skip("the program nginx is not installed")
    return path


@contextmanager
def nginx(ports: Sequence[int], location: str | None = None) -> Iterator[int]:
    """Run it before these ports of loopback, with the location that README shows or another; give its own port."""
    port = free_port()
    with TemporaryDirectory(prefix="nginx-") as folder:
        config = Path(folder, "nginx.conf")
        config.write_text(_config(folder, port, ports, location or _location()))
        with subprocess.Popen([program(), "-p", folder, "-c", config, "-e", f"{folder}/error.log"]) as process:
            try:
                _wait_for(port, process)
                yield port
            finally:
                process.terminate()


def _location() -> str:
    (location,) = re.findall(r"```nginx\n(.*?)```", README.read_text(), re.DOTALL)
    return str(location.replace("http://127.0.0.1:8080", "http://nodes"))


def _config(folder: str, port: int, ports: Sequence[int], location: str) -> str:
    nodes = " ".join(f"server 127.0.0.1:{one} max_fails=0;" for one in ports)
    return CONFIG.format(folder=folder, port=port, nodes=nodes, location=location, descriptors=DESCRIPTORS)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, "nginx ended"
            assert time.monotonic() < deadline, "nginx does not start"
            time.sleep(0.02)
        else:
            return

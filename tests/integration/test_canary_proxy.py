"""The canary from outside, behind a real nginx that is set up well, and one that buffers."""

import pytest

from cli_support import invoke
from nginx_support import nginx
from server_support import SECRET, serving_in_thread
from tornado_sse.cli import canary

BUFFERING = """
location /sse/ {
    proxy_pass http://nodes;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_buffering on;
    proxy_ignore_headers X-Accel-Buffering;
    gzip on;
    gzip_types text/event-stream;
    gzip_proxied any;
}
"""


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def test_a_proxy_that_passes_on() -> None:
    with serving_in_thread() as node, nginx([port_of(node.url)]) as port:
        result = invoke("tail", "--canary", f"http://127.0.0.1:{port}", "--count=2", TORNADO_SSE_JWT_SECRET=SECRET)
    assert result.exit_code == 0, result.output
    assert "2 of 2 arrived" in result.stdout


def test_a_proxy_that_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "PATIENCE", 2.0)
    with serving_in_thread() as node, nginx([port_of(node.url)], BUFFERING) as port:
        result = invoke("tail", "--canary", f"http://127.0.0.1:{port}", "--count=2", TORNADO_SSE_JWT_SECRET=SECRET)
    assert result.exit_code == 1, result.output
    assert "does a proxy buffer the stream?" in result.stderr

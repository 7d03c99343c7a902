"""The browser client as a file."""

import gzip
import json

import pytest

from handlers_support import Ask
from tornado_sse.handlers.client import WEB

ROOM = 6 * 1024


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("name", "media_type"), [("client.js", "text/javascript; charset=utf-8"), ("client.js.map", "application/json")]
)
async def test_the_files(ask: Ask, name: str, media_type: str) -> None:
    answer = await ask(f"/sse/{name}", user=None)
    assert (answer.code, answer.headers["Content-Type"]) == (200, media_type)
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.body == (WEB / name).read_bytes()
    head = await ask(f"/sse/{name}", user=None, method="HEAD")
    assert (head.code, head.headers["ETag"], head.body) == (200, answer.headers["ETag"], b"")


@pytest.mark.gen_test
async def test_a_browser_that_has_it_gets_no_second_copy(ask: Ask) -> None:
    tag = (await ask("/sse/client.js", user=None)).headers["ETag"]
    for sent in (tag, f'"other", W/{tag}'):
        again = await ask("/sse/client.js", user=None, headers={"If-None-Match": sent})
        assert (again.code, again.body, again.headers["ETag"]) == (304, b"", tag)
    assert (await ask("/sse/client.js", user=None, headers={"If-None-Match": '"other"'})).code == 200


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/sse/client", "/sse/client.js/", "/sse/client.ts", "/sse/demo.js"])
async def test_no_other_files(ask: Ask, path: str) -> None:
    assert (await ask(path, user=None)).code == 404


def test_it_is_small() -> None:
    assert len(gzip.compress((WEB / "client.js").read_bytes(), 9)) <= ROOM


def test_the_map_belongs_to_it() -> None:
    assert (WEB / "client.js").read_text().rstrip().endswith("//# sourceMappingURL=client.js.map")
    sources = json.loads((WEB / "client.js.map").read_text())["sources"]
    assert "../../client/src/client.ts" in sources

"""The client's own tests, and whether the file in the package is what its sources give."""

import json
import shutil
from collections.abc import Callable

from node_support import CLIENT
from tornado_sse.handlers.client import WEB

Run = Callable[..., str]


def test_its_own_tests_pass_and_its_types_hold(client_tools: Run) -> None:
    client_tools("npx", "tsc", "--noEmit")
    client_tools("npx", "vitest", "run")


def test_the_file_in_the_package_is_what_the_sources_give(client_tools: Run) -> None:
    folder = CLIENT / "build"  # the source map names its sources from where it is
    client_tools("node", "build.mjs", "build")
    try:
        assert (folder / "client.js").read_bytes() == (WEB / "client.js").read_bytes(), "make client, and commit it"
        made, kept = (json.loads((each / "client.js.map").read_text()) for each in (folder, WEB))
        assert (made["mappings"], made["sourcesContent"]) == (kept["mappings"], kept["sourcesContent"])
    finally:
        shutil.rmtree(folder)

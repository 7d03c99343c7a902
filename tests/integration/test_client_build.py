"""The client's own tests, and whether the file in the package is what its sources give."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

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


def test_an_application_bundles_it_with_vite(client_tools: Run, tmp_path: Path) -> None:
    client_tools("npm", "run", "build")
    packed = json.loads(client_tools("npm", "pack", "--ignore-scripts", "--json", "--pack-destination", tmp_path))
    names = {file["path"] for file in packed[0]["files"]}
    assert {"dist/client.js", "dist/client.js.map", "dist/client.d.ts", "dist/react.js", "dist/react.d.ts"} <= names
    package = tmp_path / "node_modules" / "tornado-sse-client"
    package.parent.mkdir()
    shutil.unpack_archive(tmp_path / packed[0]["filename"], tmp_path, "gztar")
    (tmp_path / "package").rename(package)
    (package.parent / "react").symlink_to(CLIENT / "node_modules" / "react")
    (tmp_path / "index.html").write_text('<script type="module" src="main.js"></script>')
    (tmp_path / "main.js").write_text(
        'import { connect } from "tornado-sse-client";\n'
        'import { useEventStream } from "tornado-sse-client/react";\n'
        "window.app = { connect, useEventStream };\n"
    )
    client_tools("npx", "vite", "build", tmp_path, "--logLevel", "warn")
    (bundle,) = (tmp_path / "dist" / "assets").glob("*.js")
    assert "/sse/connect/" in bundle.read_text()

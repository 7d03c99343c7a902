"""Runs the Python of docs/clients.md: `docs_python.py URL TOKEN`, a line of JSON on stdout for each event."""

import json
import re
import sys
from pathlib import Path
from typing import Any

TEXT = (Path(__file__).parents[2] / "docs" / "clients.md").read_text()


def main() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - our own documentation
    for event in names["events"](*sys.argv[1:]):
        sys.stdout.write(json.dumps({"what": "event", "name": event.event, "data": event.data}) + "\n")
        sys.stdout.flush()


main()

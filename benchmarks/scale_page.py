"""The figures of the scale run: as JSON, and as a page."""

import json
import time
from pathlib import Path
from typing import Any

from results import machine, number

KIB = 1024


def save(folder: Path, figures: dict[str, Any]) -> None:
    """Write scale.json and scale.md."""
    folder.mkdir(exist_ok=True)
    found = {"measured": time.strftime("%Y-%m-%d"), "machine": machine(), **figures}
    (folder / "scale.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "scale.md").write_text(page(found))


def page(found: dict[str, Any]) -> str:
    return json.dumps(found)

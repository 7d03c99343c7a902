"""Puts the table of settings into README, from their declaration. `make readme` runs it; a test holds both equal."""

import re
from pathlib import Path

from tornado_sse.config import markdown_table

README = Path(__file__).parent.parent / "README.md"
_SECTION = re.compile(r"(<!-- settings: [^\n]*-->\n).*?(<!-- /settings -->)", re.DOTALL)


def with_table(text: str) -> str:
    """Return README's text with the table as it should be."""
    return _SECTION.sub(lambda match: f"{match[1]}\n{markdown_table().strip()}\n\n{match[2]}", text)


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")

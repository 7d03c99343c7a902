"""Tables in Markdown, by rows."""

from collections.abc import Iterable

Row = tuple[str, ...]


def table(rows: Iterable[Row]) -> str:
    """Write rows; the first is the head."""
    head, *body = rows
    lines = [head, ("---", *["---:"] * (len(head) - 1)), *body]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)

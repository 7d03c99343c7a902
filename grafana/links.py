"""Where the runbook is kept: panels link to its sections."""

RUNBOOK = "https://tornado-sse.example/docs/runbook.md"


def section(title: str) -> str:
    """Return the URL of the section with that title; anchors are made as GitHub and GitLab make them."""
    return f"{RUNBOOK}#{title.lower().replace(' ', '-')}"

"""JSON from outside that can't be read, and why, in words that stay the same whatever the library says."""

import msgspec

MAX_REASON = 200
"""Longest reason, in characters: it may quote what was sent."""

UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""What reading it raises."""


def explain(error: Exception) -> str:
    """Say what is wrong, fit for who sent it."""
    text = str(error)
    if isinstance(error, RecursionError):
        return "the JSON is nested too deeply"
    if isinstance(error, UnicodeError) or text == "Invalid UTF-8 encoded string":
        return "the JSON is not valid UTF-8"
    if text == "Input data was truncated":
        return "the JSON ends too early, or in half a surrogate pair"
    return text[:MAX_REASON]

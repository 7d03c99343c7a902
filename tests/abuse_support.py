"""What the tests of attacks share: one function a test, in a short form and a long one."""

from typing import TypeVar

import pytest

T = TypeVar("T")


def sizes(short: T, long: T) -> pytest.MarkDecorator:
    """Run a test with its argument `size` twice: `short` takes seconds, `long` is for make abuse."""
    forms = [pytest.param(short, id="short"), pytest.param(long, id="long", marks=pytest.mark.abuse)]
    return pytest.mark.parametrize("size", forms)

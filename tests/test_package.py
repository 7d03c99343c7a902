"""What the package offers at its top."""

import pytest

import tornado_sse


def test_every_name_that_it_offers_is_there() -> None:
    assert all(hasattr(tornado_sse, name) for name in tornado_sse.__all__)


def test_a_name_that_it_does_not_offer_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Nothing"):
        _ = tornado_sse.Nothing

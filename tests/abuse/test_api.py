"""Fuzzing by the contract: requests that the OpenAPI document allows or forbids, at the server in its own process."""

from collections.abc import Iterator

import hypothesis
import pytest

from openapi_support import SETTINGS, Case, check_answer, open_session, schema
from process_support import server_process

SCHEMA = schema(deterministic=False)


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with server_process(**SETTINGS) as process, open_session(process.url):
        yield process.url
        assert process.problems() == []


@pytest.mark.abuse
@SCHEMA.parametrize()
@hypothesis.settings(max_examples=1000, deadline=None, database=None)
def test_the_handlers_do_as_the_document_says(case: Case, base_url: str) -> None:
    check_answer(case, base_url)

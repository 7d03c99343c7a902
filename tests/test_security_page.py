"""docs/security.md reviews every setting, with the default that is in force."""

import re
from pathlib import Path

from tornado_sse.config import Settings, shown

PAGE = (Path(__file__).parents[1] / "docs" / "security.md").read_text(encoding="utf-8")
REVIEW = PAGE.partition("## The settings, one by one")[2].partition("\n## ")[0]


def test_every_setting_is_reviewed_once() -> None:
    tables, _, rest = REVIEW.partition("The others decide nothing")
    named = re.findall(r"^\| `(\w+)` \|", tables, re.MULTILINE) + re.findall(r"`(\w+)`", rest)
    assert sorted(named) == sorted(Settings.model_fields)


def test_defaults_are_those_of_the_code() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| `?(.+?)`? \|", REVIEW, re.MULTILINE))
    assert told == {name: shown(Settings.model_fields[name].default) for name in told}

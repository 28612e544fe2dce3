"""The pages about conventions: every command of them is accepted, every schema is listed."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from console_commands import COMMANDS

from segnet_deploy.schemas import FORMATS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "guides/coming-from-other-tools.md").read_text("utf-8")
ALL_ROWS = [row.split(" | ") for row in PAGE.splitlines() if re.match(r"\| (U|J|T|B|all) \|", row)]
ROWS = [row for row in ALL_ROWS if "`segnet-" in row[3]]  # the others are Python


def test_thirty_expectations_are_answered() -> None:
    assert len(ROWS) >= 30
    assert sum("added" in row[-1].lower() for row in ROWS) >= 10


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[1])
def test_command_of_the_table_is_accepted(row: list[str]) -> None:
    name, *words = re.findall(r"`(segnet-[^`]*)`", row[3])[0].split()
    parser = importlib.import_module(COMMANDS[name]).build_parser()
    if words == ["--help"]:
        words = []
    assert parser.parse_args(words)


def test_first_error_of_the_page_is_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    found = re.findall(r"\$ (segnet-\S+) (.*)\n(error: .*)", PAGE)
    assert len(found) == 2
    for name, words, error in found:
        parser = importlib.import_module(COMMANDS[name]).build_parser()
        with pytest.raises(SystemExit):
            parser.parse_args(words.split())
        assert capsys.readouterr().err == error + "\n"


def test_every_schema_is_listed() -> None:
    listed = re.findall(r"schemas/([a-z-]+)\.json\)", (DOCS / "reference/json.md").read_text())
    assert sorted(listed) == sorted(FORMATS)

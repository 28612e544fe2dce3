"""The Python blocks of docs/how-to/python.md run as written, one after the other."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from segnet_deploy import list_pretrained
from segnet_deploy.results import Result

PAGE = Path(__file__).parents[1] / "docs/how-to/python.md"


def test_blocks_of_the_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    names: dict[str, object] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"block {number} of {PAGE.name}", "exec"), names)
    assert isinstance(names["second"], Result)
    assert len(json.loads(str(names["text"]))["images"]) == 2
    shown = capsys.readouterr().out
    assert "<Result 180x240: Road 29 %, Tree 14 %" in shown
    assert f"street (360, 480) {list_pretrained()[1].mean_iou} Apache-2.0" in PAGE.read_text()


def test_page_describes_every_public_part_of_a_result() -> None:
    named = set(re.findall(r"`(\w+)", PAGE.read_text()))
    parts = {name for name in dir(Result) if not name.startswith("_")}
    parts |= set(Result.__dataclass_fields__)
    assert parts - named == {"describe"}

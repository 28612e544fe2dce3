"""benchmarks/paper.py from nothing to a table, at an eighth of the width."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import paper
import pytest

SMALL = ["--networks", "segnet", "--width", "2", "--imgsz", "32", "48", "--num-classes", "3"]
QUICK = ["--rounds", "1", "--runs", "1", "--threads", "1"]


def test_paper_exports_measures_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Each process of its own would load torch again, and the ceilings take seconds.
    monkeypatch.setattr(paper, "in_fresh_process", lambda function, *given: function(*given))
    monkeypatch.setattr(paper, "Extras", partial(paper.Extras, ceilings=False))
    arguments = ["-o", str(tmp_path), *SMALL, *QUICK, "--backward"]
    assert paper.main(arguments) == 0
    first = capsys.readouterr()
    assert "gate passed" in first.err
    for words in ("SegNet", "422.5", "training", "paper 489 ms, 6803 MB"):
        assert words in first.out
    comparison = json.loads((tmp_path / "comparison.json").read_text())
    network = comparison["networks"][0]
    assert network["backward"]["batch"] == 4
    assert network["backward"]["seconds"]["median"] > 0
    assert (tmp_path / "report.html").is_file()

    assert paper.main(arguments) == 0
    assert "exporting" not in (second := capsys.readouterr()).err
    assert second.out == first.out


def test_paper_refuses_an_unknown_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert paper.main(["--networks", "resnet"]) == 2
    assert "deeplab-largefov" in capsys.readouterr().err


def test_paper_sets_hold_the_papers_networks() -> None:
    assert set(paper.TABLE_6) <= set(paper.TITLES)
    assert len(paper.TABLE_1) == 8

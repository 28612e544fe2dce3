"""benchmarks/paper.py from export to table, with networks of a small width."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import paper
import pytest

from harness import paper_networks
from segnet_deploy.system.child_process import ChildDiedError

SMALL = ["--networks", "segnet", "--width", "2", "--imgsz", "32", "48", "--num-classes", "3"]
QUICK = ["--rounds", "1", "--runs", "1", "--threads", "1"]


def in_this_process(task: str, **arguments: Any) -> Any:
    return paper_networks.TASKS[task](**arguments)


def test_paper_exports_measures_and_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Each fresh process would load torch again, and the ceilings take seconds.
    monkeypatch.setattr(paper, "in_fresh_process", in_this_process)
    monkeypatch.setattr(paper, "ComparisonExtras", partial(paper.ComparisonExtras, ceilings=False))
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


def test_paper_continues_without_a_network_whose_export_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_task: str, *, name: str, path: str, **_: object) -> str:
        if name == "segnet":
            raise ChildDiedError("the child process ended by signal 9")
        Path(path).touch()
        return "gate"

    monkeypatch.setattr(paper, "in_fresh_process", run)
    arguments = ["-o", str(tmp_path), "--export-only", "--networks"]
    assert paper.main([*arguments, "segnet", "unet"]) == 1
    assert paper.main([*arguments, "segnet"]) == 1
    messages = capsys.readouterr().err
    assert "left out: segnet" in messages
    assert "unet.onnx: gate passed" in messages
    assert "error: no network could be exported" in messages
    # A file that passed the full gate serves both; one that did not is exported again for it.
    for full, exports in (([], 0), (["--full-gate"], 1), ([], 0), (["--full-gate"], 0)):
        assert paper.main([*arguments, "unet", *full]) == 0
        assert capsys.readouterr().err.count("gate passed") == exports


def test_paper_rejects_an_unknown_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert paper.main(["--networks", "resnet"]) == 2
    assert "deeplab-largefov" in capsys.readouterr().err


def test_paper_sets_contain_the_papers_networks() -> None:
    assert set(paper.TABLE_6) <= set(paper.TITLES)
    assert len(paper.TABLE_1) == 8

"""benchmarks/precision.py: what of earlier parts is kept, refused and left out; no timing."""

from __future__ import annotations

import json
from pathlib import Path

import precision
import pytest

from segnet_deploy.errors import EngineError, InputError


def test_parts_of_other_conditions_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "new" / "result.json"
    common = {"benchmark": "precision", "threads": 1, "clock": "wall"}
    assert precision.begin(path, common) == {}
    path.write_text(json.dumps(common | {"timing": {}}))
    assert "timing" in precision.begin(path, common)
    with pytest.raises(InputError, match="threads 1, now 2"):
        precision.begin(path, common | {"threads": 2})
    path.write_text("damaged")
    with pytest.raises(InputError, match="cannot be read"):
        precision.begin(path, common)


def test_what_cannot_run_is_left_out_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    def figure(way: str) -> int:
        if way == "two":
            raise EngineError("no such runtime")
        return 7

    assert precision.of_each(["one", "two", "three"], figure) == {"one": 7, "three": 7}
    assert capsys.readouterr().err == "left out: two: no such runtime\n"

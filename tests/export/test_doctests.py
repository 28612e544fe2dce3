"""Every public name of segnet_export has a docstring; its examples run as written."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest
from docstrings import failures

import segnet_export

NAMED_ELSEWHERE = {
    "ExportResult": "export",
    "Trace": "trace",
    "write": "trace",
    "GateRow": "GateReport",
}
"""Names whose example is part of another name's."""


def examples(name: str) -> list[doctest.DocTest]:
    """Return the examples in the docstring of a public name, and of its own methods."""
    item = getattr(segnet_export, name)
    module = importlib.import_module(item.__module__)
    found = doctest.DocTestFinder().find(item, name, module=module)
    return [test for test in found if test.examples]


NAMES = [name for name in segnet_export.__all__ if name != "ARCHITECTURES"]  # a dict


@pytest.mark.parametrize("name", NAMES)
def test_example_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert getattr(segnet_export, name).__doc__
    found = examples(name)
    assert found or examples(NAMED_ELSEWHERE[name])
    assert not failures(found)

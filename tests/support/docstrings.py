"""Run the examples of docstrings."""

from __future__ import annotations

import doctest
from collections.abc import Iterable


def failures(tests: Iterable[doctest.DocTest]) -> str:
    """Run `tests`; return the report of those that fail, empty if none does."""
    report: list[str] = []
    for test in tests:
        doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    return "".join(report)

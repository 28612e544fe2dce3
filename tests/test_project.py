"""The project as a whole: versions agree, public names are pinned, the code stays short."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import segnet_deploy
import segnet_export

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
CODE = ("segnet_deploy", "export", "benchmarks")
MODULE_LINES, FUNCTION_LINES, ROOT_MODULES = 350, 50, 14


def test_version_is_written_once() -> None:
    """In segnet_deploy/__init__.py, where the build reads it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["scikit-build"]["metadata"]["version"] == {
        "provider": "scikit_build_core.metadata.regex",
        "input": "segnet_deploy/__init__.py",
    }
    assert "project(segnet_deploy LANGUAGES NONE)" in (ROOT / "CMakeLists.txt").read_text()
    assert metadata.version("segnet-deploy") == segnet_deploy.__version__


def test_changelog_starts_with_this_version_or_unreleased_changes() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## \[(.+?)\]", changelog, re.M)
    assert headings[0] in ("Unreleased", segnet_deploy.__version__)
    releases = [heading for heading in headings if heading != "Unreleased"]
    assert releases[:1] in ([], [segnet_deploy.__version__])


def test_export_names_are_pinned() -> None:
    assert segnet_export.__all__ == [
        "ARCHITECTURES",
        "Architecture",
        "ExportOptions",
        "ExportResult",
        "GateOptions",
        "GateReport",
        "GateRow",
        "LoadedCheckpoint",
        "SegNet",
        "SegNetBasic",
        "SegNetConfig",
        "Trace",
        "create",
        "export",
        "load_checkpoint",
        "load_weights",
        "place_dropout",
        "trace",
        "write",
    ]
    for name in segnet_export.__all__:
        assert getattr(segnet_export, name) is not None


def test_demo_weights_are_small() -> None:
    assert (ROOT / "benchmarks/demo/segnet_demo.pt").stat().st_size <= 3_000_000


def test_modules_stay_short() -> None:
    lines = {path: len(path.read_text().splitlines()) for path in _sources()}
    long = {str(p.relative_to(ROOT)): n for p, n in lines.items() if n > MODULE_LINES}
    assert not long, f"over {MODULE_LINES} lines: {long}"


def test_functions_stay_short() -> None:
    long = {
        f"{path.relative_to(ROOT)}: {function.name}": lines
        for path in _sources()
        for function in _functions(path)
        if (lines := _lines(function)) > FUNCTION_LINES and not _is_option_table(function)
    }
    assert not long, f"over {FUNCTION_LINES} lines: {long}"


def test_only_option_tables_may_be_long() -> None:
    table = "def add_x(parser):\n    \"Add.\"\n    add = parser.add_argument\n    add('-x')\n"
    loop = "def build_parser():\n    for x in y:\n        add(x)\n"
    other = "def evaluate():\n    add('-x')\n"
    assert [_is_option_table(ast.parse(code).body[0]) for code in (table, loop, other)] == [
        True,
        False,
        False,
    ]


def test_package_root_stays_small() -> None:
    modules = sorted(path.name for path in (ROOT / "segnet_deploy").glob("*.py"))
    assert len(modules) <= ROOT_MODULES, modules


def _sources() -> list[Path]:
    return sorted(path for folder in CODE for path in (ROOT / folder).rglob("*.py"))


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert function.end_lineno is not None
    return function.end_lineno - function.lineno + 1


def _is_option_table(function: ast.stmt) -> bool:
    """Return whether a function only builds a parser: calls, assignments and a return."""
    if not isinstance(function, ast.FunctionDef):
        return False
    named = function.name.lstrip("_").startswith(("build_parser", "add_"))
    plain = (ast.Expr, ast.Assign, ast.AnnAssign, ast.Return)
    return named and all(isinstance(statement, plain) for statement in function.body)

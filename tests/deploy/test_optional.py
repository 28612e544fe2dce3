"""Every error about a missing library names an extra that installs it."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from segnet_deploy.errors import MissingDependencyError
from segnet_deploy.optional import EXTRAS, install_command, require

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
# Import name -> the distributions that contain it, if their names differ.
DISTRIBUTIONS = {
    "PIL": {"pillow"},
    "cuda": {"cuda-python"},
    "cv2": {"opencv-python", "opencv-python-headless"},
    "onnx_ir": {"onnx-ir"},
    "onnxruntime": {"onnxruntime", "onnxruntime-gpu"},
    "pynvml": {"nvidia-ml-py"},
    "tensorrt_rtx": {"tensorrt-rtx-cu13-bindings"},
    "tensorrt_rtx_bindings": {"tensorrt-rtx-cu13-bindings"},
}
# The functions whose arguments are (module, extra), and those that pass `extra` on for a module.
DIRECT, INDIRECT = ("require", "_library"), {"read_image": "cv2"}


def distributions(requirements: list[str]) -> set[str]:
    return {re.split(r"[\s<>=!~;\[]", text, maxsplit=1)[0] for text in requirements}


def extras_of(package: str) -> tuple[str, ...]:
    """Return the extras of pyproject.toml that install `package`, () for a base dependency."""
    wanted = DISTRIBUTIONS.get(package, {package})
    if wanted & distributions(PROJECT["dependencies"]):
        return ()
    groups: dict[str, list[str]] = PROJECT["optional-dependencies"]
    found = sorted(extra for extra, group in groups.items() if wanted & distributions(group))
    assert found, f"no extra of pyproject.toml installs {package}"
    return tuple(found)


def literal(node: ast.expr | None, module: str) -> Any:
    """Return the string of an argument: a literal, an f-string's start, or a module's constant."""
    if isinstance(node, ast.JoinedStr):
        node = node.values[0]
    if isinstance(node, ast.Constant):
        return node.value
    name = node.id if isinstance(node, ast.Name) else ""
    return getattr(importlib.import_module(module), name, None) if name.isupper() else None


def requirements(call: ast.Call, module: str) -> tuple[str | None, str | None]:
    """Return the module that a call imports and the extra that it names."""
    called = call.func.id if isinstance(call.func, ast.Name) else ""
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    second = call.args[1] if len(call.args) > 1 else keywords.get("extra")
    if called in DIRECT and call.args:
        return literal(call.args[0], module), literal(second, module)
    return INDIRECT.get(called), literal(second, module)


def calls() -> Iterator[tuple[str, str, str | None]]:
    """Yield place, package and extra of each call in the two packages."""
    for base, name in ((ROOT, "segnet_deploy"), (ROOT / "export", "segnet_export")):
        for file in sorted((base / name).rglob("*.py")):
            module = ".".join(file.relative_to(base).with_suffix("").parts)
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Call):
                    required, extra = requirements(node, module)
                    if required:
                        yield f"{file.name}:{node.lineno}", required.partition(".")[0], extra


def test_table_of_extras_is_that_of_the_project() -> None:
    assert {package: extras_of(package) for package in EXTRAS} == EXTRAS


def test_each_call_names_an_extra_that_installs_the_module() -> None:
    found = list(calls())
    assert len(found) > 40
    for place, package, extra in found:
        if package == "gi":  # from the distribution
            assert extra is None, place
        elif extra is not None:
            assert extra in extras_of(package), f"{place}: {extra} does not install {package}"
        else:
            assert package in EXTRAS, f"{place}: name the extra of {package}"


@pytest.mark.parametrize(
    ("name", "extra", "command"),
    [
        ("cv2", "eval", 'pip install "segnet-deploy[eval]"'),
        ("cv2", None, 'pip install "segnet-deploy[camera]"'),
        ("cuda.core.utils", None, 'pip install "segnet-deploy[tensorrt]"'),
        ("tqdm", None, "pip install --force-reinstall segnet-deploy"),
        ("gi.repository.GLib", None, "apt-get install python3-gi gir1.2-gst-plugins-base-1.0"),
    ],
)
def test_install_command(name: str, extra: str | None, command: str) -> None:
    assert install_command(name, extra) == command


def test_error_names_the_module_and_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(MissingDependencyError, match=r"scipy cannot .* \"segnet-deploy\[eval\]\""):
        require("scipy")

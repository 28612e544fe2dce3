"""The import order: each part of the package imports only what is below it, without cycles."""

from __future__ import annotations

from pathlib import Path

import pytest
from import_graph import cycles, import_graph, outside_imports, upward_imports

ROOT = Path(__file__).parents[2]
# From the lowest layer to the highest. Consequently, loading an engine (runtimes) never imports
# building one (tensorrt_build), system does not use statistics (bench), and libraries import no
# command (cli).
LAYERS = (
    ("errors", "types", "progress"),
    ("optional", "files", "classes", "pretrained", "schemas"),
    ("metadata", "geometry", "frames", "native", "system", "passes"),
    ("overlay", "scenes"),
    ("results",),
    ("runtimes",),
    ("segmenter", "tensorrt_build"),
    ("prediction", "accuracy", "batch"),
    ("conversion",),
    ("caffe",),
    ("quant",),
    ("bench",),
    ("tuning",),
    ("serving",),
    ("camera",),
    ("cli",),
)


@pytest.fixture(scope="module")
def deploy() -> dict[str, set[str]]:
    graph = import_graph(ROOT, "segnet_deploy")
    # The package's __init__ only defines the version and imports public names on request.
    graph.pop("segnet_deploy")
    return {name: others - {"segnet_deploy"} for name, others in graph.items()}


@pytest.fixture(scope="module")
def export() -> dict[str, set[str]]:
    return import_graph(ROOT / "export", "segnet_export")


def layers(package: str) -> list[list[str]]:
    return [[f"{package}.{part}" for part in parts] for parts in LAYERS]


def test_nothing_imports_upwards(deploy: dict[str, set[str]]) -> None:
    assert upward_imports(deploy, layers("segnet_deploy")) == []


def test_no_import_cycle(deploy: dict[str, set[str]], export: dict[str, set[str]]) -> None:
    assert cycles(deploy) == []
    assert cycles(export) == []


def test_export_libraries_import_no_command(export: dict[str, set[str]]) -> None:
    commands = {"segnet_export.cli", "segnet_export.options"}
    users = [name for name, others in export.items() if others & commands and name not in commands]
    assert users == []


def test_device_package_imports_no_torch() -> None:
    users = [
        str(file)
        for file in (ROOT / "segnet_deploy").rglob("*.py")
        if outside_imports(file) & {"torch", "segnet_export"}
    ]
    assert users == []


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """Return a package with a correct import order, into which tests insert faults."""
    for name, text in {
        "house/__init__.py": "",
        "house/errors.py": "",
        "house/runtimes/__init__.py": "from house.errors import X\n",
        "house/runtimes/open.py": "from house import errors\n",
        "house/cli/__init__.py": "",
        "house/cli/bench.py": "def f():\n    from house.runtimes.open import open\n",
    }.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


ORDER = [["house.errors"], ["house.runtimes"], ["house.cli"], ["house"]]


def test_sound_order_passes(planted: Path) -> None:
    graph = import_graph(planted, "house")
    assert graph["house.cli.bench"] == {"house.runtimes.open"}
    assert graph["house.runtimes.open"] == {"house.errors"}
    assert upward_imports(graph, ORDER) == []
    assert cycles(graph) == []


def test_planted_upward_import_is_found(planted: Path) -> None:
    (planted / "house/errors.py").write_text("def f():\n    from house.cli import bench\n")
    graph = import_graph(planted, "house")
    assert upward_imports(graph, ORDER) == ["house.errors -> house.cli.bench"]


def test_planted_cycle_is_found(planted: Path) -> None:
    (planted / "house/errors.py").write_text("import house.runtimes.open\n")
    assert cycles(import_graph(planted, "house")) == [["house.errors", "house.runtimes.open"]]


def test_imports_for_type_checkers_do_not_count(planted: Path) -> None:
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import house.runtimes.open\n"
    (planted / "house/errors.py").write_text(text)
    assert cycles(import_graph(planted, "house")) == []


def test_module_outside_every_layer_is_an_error(planted: Path) -> None:
    (planted / "house/attic.py").write_text("import house.errors\n")
    graph = import_graph(planted, "house")
    with pytest.raises(ValueError, match="no layer names"):
        upward_imports(graph, [["house.errors"], ["house.runtimes"], ["house.cli"]])

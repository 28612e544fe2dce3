"""The files of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segnet_deploy.bench.paper import TITLES
from segnet_deploy.errors import InputError
from segnet_deploy.runtimes.base import is_engine_file


def find_network_files(folder: Path) -> list[Path]:
    """Return the built engines in `folder`, or its ONNX files if it contains no engine.

    They are in the order of the paper's Table 6, other networks last. Raises InputError.
    """
    if not folder.is_dir():
        raise InputError(f"no such folder: {folder}; expected one of benchmarks/paper.py")
    paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    engines = [path for path in paths if is_engine_file(path)]
    files = engines or [path for path in paths if path.suffix == ".onnx"]
    if not files:
        raise InputError(
            f"{folder} contains no ONNX file and no engine; export some with segnet-export "
            "--arch NAME, or run python benchmarks/paper.py"
        )
    order = list(TITLES)
    return sorted(
        files,
        key=lambda path: (order.index(path.stem) if path.stem in order else 99, path.name),
    )


def check_files(files: Sequence[Path]) -> None:
    """Raise InputError for a missing file, or one that is given twice."""
    for file in files:
        if not file.is_file():
            raise InputError(f"no such file: {file}; expected an ONNX file or an engine")
    if len({file.resolve() for file in files}) < len(files):
        raise InputError("one file is given twice; give each once")

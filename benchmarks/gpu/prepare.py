"""What does the GPU check carry to the machine with the GPU?

    python benchmarks/gpu/prepare.py -o build-sm90 [--architecture sm_90] [--without-onnx]

Builds, on a machine without a GPU, the libraries for one architecture (needs nvcc and c++) and the
ONNX files without weights for ONNX Runtime and TensorRT-RTX (needs torch). The folder is some
megabytes; the check uses it if it was built from the same sources.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
for _folder in (ROOT, ROOT / "export", ROOT / "benchmarks", ROOT / "benchmarks/kernels"):
    sys.path.insert(0, str(_folder))

from gpu.libraries import NATIVE, STAMP, compile_native, compile_plugin, source_hash  # noqa: E402
from harness import options  # noqa: E402
from segnet_deploy.cli import command  # noqa: E402
from segnet_deploy.files import atomic_write, make_folder  # noqa: E402
from segnet_deploy.types import DEFAULT_SIZE  # noqa: E402

ONNX = "onnx"  # the folder of the ONNX files


def build_parser() -> argparse.ArgumentParser:
    parser = options.new_parser(__doc__)
    add = parser.add_argument
    add("-o", "--output", type=Path, default=Path("build-sm90"), metavar="DIR")
    add("--architecture", default="sm_90", help="of the GPU (default: %(default)s)")
    add("--without-onnx", action="store_true", help="libraries only")
    return parser


def prepare(arguments: argparse.Namespace) -> int:
    folder = arguments.output
    make_folder(folder)
    (folder / STAMP).unlink(missing_ok=True)
    for name in NATIVE:
        arguments.progress(f"{name}")
        compile_native(name, folder, arguments.architecture)
    if headers := os.environ.get("TensorRT_ROOT"):  # noqa: SIM112 - CMake's variable
        arguments.progress("the TensorRT plugin")
        compile_plugin(folder, Path(headers) / "include", arguments.architecture)
    if not arguments.without_onnx:
        from gpu.onnx_skeletons import write_skeletons
        from gpu.torch_pair import draw_network
        from segnet_export.models import SegNet

        arguments.progress("ONNX files; the calibration for INT8 takes a minute")
        write_skeletons(draw_network(SegNet), folder / ONNX, DEFAULT_SIZE)
    atomic_write(folder / STAMP, (source_hash() + "\n").encode())
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 1e6:.1f} MB for {arguments.architecture}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return command.run(build_parser(), prepare, argv)


if __name__ == "__main__":
    sys.exit(main())

"""Does everything that needs a GPU work here, and how fast is it?

    python benchmarks/gpu_check.py -o out/gpu [--only PART ...] [--dry-run]

Runs each part (benchmarks/gpu/parts.py) in a process of its own with a time limit, and writes two
files: gpu.json, after each part, and gpu.log. The exit status is 0 only if every part was run to
its end and met the goals that must be met; a speed goal that was missed is reported. With --dry-run
the same code runs on the CPU with small shapes and needs no GPU. See docs/how-to/gpu-check.md.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
for _folder in (ROOT, ROOT / "export", ROOT / "benchmarks", ROOT / "benchmarks/kernels"):
    sys.path.insert(0, str(_folder))

from gpu.parts import BUDGET, PARTS, STANDARD  # noqa: E402 - after the path
from gpu.run_parts import Check  # noqa: E402
from gpu.table import format_table  # noqa: E402
from harness import options  # noqa: E402
from segnet_deploy.cli import command  # noqa: E402
from segnet_deploy.errors import EngineError  # noqa: E402
from segnet_deploy.files import make_folder  # noqa: E402
from segnet_deploy.system.cuda_driver import device_count  # noqa: E402


def build_parser() -> argparse.ArgumentParser:
    parser = options.new_parser(__doc__)
    add = parser.add_argument
    add("-o", "--output", default="out/gpu", metavar="DIR", help="default: %(default)s")
    add(
        "--only",
        nargs="+",
        choices=PARTS,
        default=list(STANDARD),
        metavar="PART",
        help=f"one or more of {', '.join(PARTS)} (default: the standard ones)",
    )
    add("--dry-run", action="store_true", help="run everything on the CPU with small shapes")
    add("--budget", type=float, default=BUDGET, metavar="SECONDS", help="default: %(default)g")
    add(
        "--prebuilt",
        type=Path,
        default=ROOT / "build-sm90",
        metavar="DIR",
        help="libraries of gpu/prepare.py; what is missing is built (default: build-sm90)",
    )
    add("--extra", type=Path, metavar="DIR", help="folder of joined wheels, for optional parts")
    return parser


def check_gpu(arguments: argparse.Namespace) -> int:
    if not arguments.dry_run and device_count() == 0:
        raise EngineError("no CUDA device responds; expected a GPU: try --dry-run")
    folder = Path(arguments.output)
    make_folder(folder)
    (folder / "gpu.log").unlink(missing_ok=True)
    check = Check(
        folder / "gpu.json",
        folder / "gpu.log",
        arguments.dry_run,
        arguments.prebuilt.resolve(),
        arguments.extra and arguments.extra.resolve(),
        float("inf") if arguments.dry_run else arguments.budget,
    )
    passed = check.run(arguments.only, lambda text: print(text, flush=True))
    print(f"\n{format_table(check.found)}\n{check.result}, {check.log}")
    return 0 if passed else 1


def main(argv: Sequence[str] | None = None) -> int:
    return command.run(build_parser(), check_gpu, argv)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the running part is ended
    sys.exit(main())

"""`segnet-build`: an exported ONNX file -> a TensorRT or TensorRT-RTX engine."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segnet_deploy.cli import run
from segnet_deploy.errors import EngineError, UsageError

if TYPE_CHECKING:
    from segnet_deploy.metadata import Metadata
    from segnet_deploy.trt.request import BuildAnswer, Shape

PRECISIONS = ("fp32", "fp16", "bf16")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser(), command, argv)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `segnet-build`."""
    parser = argparse.ArgumentParser(
        prog="segnet-build",
        description="Build a TensorRT or TensorRT-RTX engine from an exported ONNX file.",
        epilog="exit status: 0 built, 1 failed (no file), 2 wrong usage",
    )
    parser.add_argument("onnx", metavar="segnet.onnx", help="file of segnet-export")
    parser.add_argument("-o", "--output", metavar="F", help="default: the file's name + .trt")
    parser.add_argument("--builder", choices=("auto", "tensorrt", "tensorrt-rtx"), default="auto")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument(
        "--target", metavar="smXX[,smYY]", help="GPUs to build for without one (TensorRT-RTX)"
    )
    parser.add_argument(
        "--batch", nargs=3, type=int, metavar=("MIN", "OPT", "MAX"), help="for a dynamic batch"
    )
    parser.add_argument("--workspace", type=int, metavar="MB", help="scratch memory limit")
    return parser


def command(arguments: argparse.Namespace) -> int:
    """Build, write plan and sidecar, and report."""
    source = Path(arguments.onnx)
    target = Path(arguments.output or source.with_suffix(".trt").name)
    targets = tuple(t.strip().lower() for t in (arguments.target or "").split(",") if t.strip())
    if arguments.workspace is not None and arguments.workspace < 1:
        raise UsageError(f"--workspace {arguments.workspace}; expected MB above 0")
    built = build(
        source,
        target,
        builder=arguments.builder,
        precision=arguments.precision,
        targets=targets,
        batch=tuple(arguments.batch) if arguments.batch else None,
        workspace_bytes=None if arguments.workspace is None else arguments.workspace * 1_000_000,
    )
    answer = built.answer
    print(
        f"{target}: {built.kind} {answer.version}, {', '.join(targets) or 'this GPU'}, "
        f"{arguments.precision}, {len(answer.layers)} layers, {_mb(target.stat().st_size)}, "
        f"activations {_mb(answer.activation_bytes)}, built in {answer.seconds:.1f} s"
    )
    return 0


@dataclass(frozen=True)
class Built:
    """An engine that was written, with what its builder said."""

    path: Path
    kind: str
    answer: BuildAnswer


def build(
    source: Path,
    target: Path,
    *,
    builder: str = "auto",
    precision: str = "fp32",
    targets: tuple[str, ...] = (),
    batch: tuple[int, ...] | None = None,
    workspace_bytes: int | None = None,
) -> Built:
    """Lower `source`, build it in a child process, and write `target` and its sidecar.

    The sidecar, `target` + .json, says what the engine is and how it was built. Raises
    InputError, UnsupportedModelError, MissingDependencyError or EngineError; then neither
    file is there.
    """
    from segnet_deploy.files import atomic_path
    from segnet_deploy.trt.library import choose
    from segnet_deploy.trt.request import BuildRequest

    kind = choose(builder, bool(targets))
    with tempfile.TemporaryDirectory() as name, atomic_path(target) as plan:
        folder = Path(name)
        metadata, profiles = prepare(source, folder / "lowered.onnx", precision, batch)
        request = BuildRequest(
            str(folder / "lowered.onnx"),
            str(plan),
            str(folder / "answer.json"),
            kind,
            targets,
            profiles,
            workspace_bytes,
        )
        answer = run_worker(request, folder)
        check_precision(answer, precision)
        sidecar = describe(source, plan, kind, precision, targets, profiles, metadata, answer)
        with atomic_path(f"{target}.json") as description:
            description.write_text(json.dumps(sidecar, indent=2) + "\n", "utf-8")
    return Built(target, kind, answer)


def prepare(
    source: Path, path: Path, precision: str, batch: tuple[int, ...] | None
) -> tuple[Metadata, dict[str, tuple[Shape, Shape, Shape]]]:
    """Write `source` in lowered form and in `precision`; return its metadata and profiles."""
    from segnet_deploy.metadata import Metadata
    from segnet_deploy.optional import require
    from segnet_deploy.passes.forms import to_form
    from segnet_deploy.passes.precision import to_precision
    from segnet_deploy.runtimes.model_file import load_model

    model = load_model(source)
    metadata = Metadata.from_props(dict(model.metadata_props))
    port = model.graph.inputs[0]
    shape = tuple(s if isinstance(s, int) else None for s in (port.shape or ()))
    profiles = profile(str(port.name), shape, batch)
    model = to_form(model, "lowered").model
    model = to_precision(model, precision).model
    require("onnx_ir", extra="tensorrt").save(model, path)
    return metadata, profiles


def profile(
    name: str, shape: tuple[int | None, ...], batch: tuple[int, ...] | None
) -> dict[str, tuple[Shape, Shape, Shape]]:
    """Return the optimisation profile of a dynamic batch; refuse what cannot be built well."""
    if None in shape[1:]:
        raise UsageError(
            f"the file has dynamic sizes {shape}; its lowered form would need tens of GB: export "
            "with a static --imgsz (a dynamic batch is fine)"
        )
    if shape and shape[0] is not None:
        if batch is not None:
            raise UsageError(f"--batch {batch}, but the file has a fixed batch of {shape[0]}")
        return {}
    least, usual, largest = batch or (1, 1, 1)
    if not 1 <= least <= usual <= largest:
        raise UsageError(f"--batch {least} {usual} {largest}; expected 1 <= MIN <= OPT <= MAX")
    rest: Shape = tuple(s or 0 for s in shape[1:])
    return {name: ((least, *rest), (usual, *rest), (largest, *rest))}


def run_worker(request: Any, folder: Path) -> BuildAnswer:
    """Build in a child process, with a progress bar; a crash there becomes an EngineError."""
    from segnet_deploy.optional import require
    from segnet_deploy.trt.request import BuildAnswer

    question = folder / "request.json"
    request.write(question)
    command_line = [sys.executable, "-m", "segnet_deploy.trt.worker", str(question)]
    bar = require("tqdm", extra="tensorrt").tqdm(desc="building", file=sys.stderr, leave=False)
    with (
        bar,
        (folder / "stderr").open("w+") as errors,
        subprocess.Popen(command_line, stdout=subprocess.PIPE, stderr=errors, text=True) as child,
    ):
        assert child.stdout is not None
        try:
            for line in child.stdout:
                done, total, *_ = [*line.split(), "", ""]
                if done.isdigit() and total.isdigit():
                    bar.total, bar.n = int(total), int(done)
                    bar.refresh()
        except KeyboardInterrupt:
            child.kill()
            raise
        status = child.wait()
        errors.seek(0)
        tail = [line for line in errors.read().splitlines() if line.strip()][-1:]
    answer_file = Path(request.answer)
    if not answer_file.is_file():
        how = f"signal {-status}" if status < 0 else f"status {status}"
        raise EngineError(
            f"the {request.kind} builder died ({how}): {' '.join(tail) or 'it said nothing'}; try "
            "another --builder, or report the file"
        )
    answer = BuildAnswer.read(answer_file)
    if answer.error:
        raise EngineError(answer.error)
    return answer


def check_precision(answer: BuildAnswer, precision: str) -> None:
    """Raise EngineError where the built layers are not what was asked for."""
    from segnet_deploy.trt.layers import convolutions, wrong_precision

    count, wrong = convolutions(answer.layers), wrong_precision(answer.layers, precision)
    if not count:
        raise EngineError(
            "the builder listed no convolution, so its precision cannot be read back; no file "
            "was written"
        )
    if wrong:
        raise EngineError(
            f"{len(wrong)} of {count} convolutions were not built in {precision} "
            f"({', '.join(wrong[:3])}); no file was written"
        )


def describe(
    source: Path,
    plan: Path,
    kind: str,
    precision: str,
    targets: tuple[str, ...],
    profiles: dict[str, tuple[Shape, Shape, Shape]],
    metadata: Metadata,
    answer: BuildAnswer,
) -> dict[str, Any]:
    """Return the sidecar."""
    from segnet_deploy.files import sha256

    return {
        "format": 1,
        "builder": kind,
        "version": answer.version,
        "targets": list(targets),
        "form": "lowered",
        "precision": precision,
        "plugin": None,
        "onnx": source.name,
        "onnx_sha256": sha256(source),
        "plan_sha256": sha256(plan),
        "profiles": profiles,
        "ports": answer.ports,
        "activation_bytes": answer.activation_bytes,
        "weights_bytes": answer.weights_bytes,
        "build_seconds": answer.seconds,
        "layers": answer.layers,
        "metadata": metadata.to_props(),
    }


def _mb(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 1e6:.1f} MB"


if __name__ == "__main__":
    sys.exit(main())

"""INT8 files of one net by several quantisers: accuracy and time in each runtime.

    python benchmarks/quantisers.py segnet.onnx --calib DIR --data CAMVID --layout camvid \\
        --split val --every 5 [--json FILE]

Ours in its three calibrations, ONNX Runtime's static quantisation, NNCF and ModelOpt; one that is
not installed is left out. Theirs get the lowered form, since they know nothing of unpooling, and
per-channel weights. Finished files in the output folder are not made again; those of another net
or of other calibration frames are refused.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from segnet_deploy import runtimes
from segnet_deploy.accuracy.datasets import Example
from segnet_deploy.accuracy.evaluate import (
    class_changes,
    class_losses,
    evaluate,
)
from segnet_deploy.bench.timing import interleaved
from segnet_deploy.cli import command
from segnet_deploy.cli.eval import read_examples
from segnet_deploy.cli.options import add_labelled_data
from segnet_deploy.errors import InputError, SegNetError
from segnet_deploy.files import atomic_path, atomic_write, make_folder, sha256
from segnet_deploy.metadata import Metadata
from segnet_deploy.passes.to_form import to_form
from segnet_deploy.quant import DEFAULT_FRAMES, METHODS
from segnet_deploy.quant.quantiser import Quantiser, read_calibration
from segnet_deploy.quant.sensitivity import CachingSegmenter
from segnet_deploy.runtimes.model_file import load_model
from segnet_deploy.segmenter import load
from segnet_deploy.system.machine import describe_machine, versions
from segnet_deploy.types import Frame

Inputs = Sequence[Any]
PAUSE = 0.25  # s, as in peers.py


def by_onnxruntime(source: Path, inputs: Inputs, target: Path) -> None:
    """ONNX Runtime's static quantisation: uint8 activations, min-max."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest = iter(inputs)

        def get_next(self) -> dict[str, Any] | None:
            x = next(self.rest, None)
            return None if x is None else {input_name(source): x}

    quantize_static(
        str(source),
        str(target),
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
    )


def by_nncf(source: Path, inputs: Inputs, target: Path) -> None:
    """NNCF's post-training quantisation with its bias correction."""
    import nncf

    name = input_name(source)
    data = nncf.Dataset(list(inputs), lambda x: {name: x})
    onnx.save(nncf.quantize(onnx.load(source), data, subset_size=len(inputs)), target)


def by_modelopt(source: Path, inputs: Inputs, target: Path) -> None:
    """ModelOpt's quantisation for TensorRT: int8 with zero point 0, entropy."""
    from modelopt.onnx.quantization import quantize

    quantize(
        str(source),
        quantize_mode="int8",
        calibration_data=np.concatenate(list(inputs)),
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        output_path=str(target),
    )


OTHERS: dict[str, Callable[[Path, Inputs, Path], None]] = {
    "ONNX Runtime": by_onnxruntime,
    "NNCF": by_nncf,
    "ModelOpt": by_modelopt,
}
NAMES = (*(f"ours, {method}" for method in METHODS), *OTHERS)


def input_name(path: Path) -> str:
    """Return the name of the file's one input."""
    return str(load_model(path).graph.inputs[0].name)


def quantiser_versions() -> dict[str, str]:
    """Return the versions of those quantisers that are installed."""
    found = {}
    for name in ("nncf", "nvidia-modelopt"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def check_origin(folder: Path, source: Path, frames: Sequence[Frame]) -> None:
    """Note what the files of `folder` are made from. Raises InputError where that changed."""
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(repr(frame.shape).encode() + frame.tobytes())
    origin = {"source_sha256": sha256(source), "calibration_sha256": digest.hexdigest()}
    note = folder / "origin.json"
    known = json.loads(note.read_bytes()) if note.exists() else None
    if known != origin and any(folder.glob("*.onnx")):
        raise InputError(
            f"{folder} holds INT8 files of another net or calibration; choose another -o, or "
            "remove them"
        )
    atomic_write(note, (json.dumps(origin, indent=2) + "\n").encode())


def make_files(arguments: argparse.Namespace, folder: Path) -> dict[str, Path]:
    """Quantise with everything that is installed."""
    source = Path(arguments.onnx)
    frames = read_calibration(Path(arguments.calib), arguments.calib_frames)
    check_origin(folder, source, frames)
    lowered = folder / "fp32_lowered.onnx"
    model = load_model(source)
    metadata = replace(Metadata.from_props(dict(model.metadata_props)), form="lowered")
    ir.save(to_form(model, "lowered").model, lowered)
    files: dict[str, Path] = {}
    inputs: Inputs = ()
    for name in arguments.only or NAMES:
        target = folder / (name.lower().replace(", ", "_").replace(" ", "_") + ".onnx")
        files[name] = target
        if target.exists():
            continue
        print(f"quantising: {name}", file=sys.stderr)
        if name not in OTHERS:
            quantiser = Quantiser(source, frames, name.split(", ")[1])
            with atomic_path(target) as temporary:
                quantiser.write(temporary, "standard")
            continue
        if not len(inputs):
            with load(source, "onnxruntime") as segmenter:
                inputs = [segmenter.preprocess([frame]).x for frame in frames]
        try:
            with atomic_path(target) as temporary:
                OTHERS[name](lowered, inputs, temporary)
                written = onnx.load(temporary)
                onnx.helper.set_model_props(written, metadata.to_props())
                onnx.save(written, temporary)
        except ImportError as error:
            print(f"left out: {name} is not installed ({error})", file=sys.stderr)
            del files[name]
    return files


def judge(
    files: dict[str, Path], fp32: Path, examples: Sequence[Example], rounds: int, threads: int
) -> list[dict[str, Any]]:
    """Return a row for each file and runtime: accuracy against fp32, seconds a frame."""
    rows, opened = [], {}
    with CachingSegmenter(fp32) as reference:
        for name, path in files.items():
            for runtime in runtimes.installed():
                try:
                    segmenter = load(path, runtime, threads=threads)
                    result = evaluate(segmenter, examples, boundary=False, other=reference)
                except SegNetError as error:
                    print(f"left out: {name}: {str(error).splitlines()[0]}", file=sys.stderr)
                    continue
                opened[name, runtime] = segmenter
                rows.append(_row(name, runtime, result))
                print(_line(rows[-1]), flush=True)
    frame = examples[0].frame()
    calls = {
        f"{name}/{runtime}": partial(segmenter.segment, frame)
        for (name, runtime), segmenter in opened.items()
    }
    timings = interleaved(calls, rounds, warm_ups=1, pause=PAUSE)
    for row in rows:
        row["seconds"] = timings[f"{row['quantiser']}/{row['runtime']}"].summary()
    return rows


def _row(name: str, runtime: str, result: dict[str, Any]) -> dict[str, Any]:
    changes = class_changes(result)
    return {
        "quantiser": name,
        "runtime": runtime,
        "mean_iou": result["mean_iou"],
        "mean_iou_fp32": result["against"]["mean_iou"],
        "agreement": result["agreement"],
        "worst_class": min(changes, key=changes.__getitem__),
        "worst_change": min(changes.values()),
        "warnings": class_losses(result),
    }


def _line(row: dict[str, Any]) -> str:
    seconds = f"{row['seconds']['median']:8.3f} s" if "seconds" in row else ""
    return (
        f"{row['quantiser']:18}{row['runtime']:13}{100 * row['mean_iou']:7.2f}"
        f"{100 * (row['mean_iou'] - row['mean_iou_fp32']):+7.2f}{row['agreement']:9.2%}  "
        f"{row['worst_class']} {100 * row['worst_change']:+.2f}{seconds}"
    )


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("onnx", help="fp32 file in standard form")
    parser.add_argument("--calib", required=True, metavar="DIR")
    parser.add_argument("--calib-frames", type=int, default=DEFAULT_FRAMES, metavar="N")
    add_labelled_data(parser)
    parser.add_argument("--only", nargs="+", choices=NAMES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("-o", "--output", default="out/quantisers", metavar="DIR")
    parser.add_argument("--json", metavar="FILE")
    return parser


def quantisers(arguments: argparse.Namespace) -> None:
    """Quantise, judge, print and write."""
    folder = Path(arguments.output)
    for made in (folder, Path(arguments.json or ".").parent):
        make_folder(made)
    examples = read_examples(arguments)
    files = make_files(arguments, folder)
    rows = judge(files, Path(arguments.onnx), examples, arguments.rounds, arguments.threads)
    print("\n".join(_line(row) for row in rows))
    if arguments.json:
        result = {
            "benchmark": "quantisers",
            "what": "one net quantised several ways against fp32: shares, seconds a frame",
            "frames": len(examples),
            "threads": arguments.threads,
            "rows": rows,
            "machine": describe_machine(),
            "versions": versions() | quantiser_versions(),
        }
        atomic_write(arguments.json, (json.dumps(result, indent=2) + "\n").encode())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    return command.run(build_parser(), quantisers, argv)


if __name__ == "__main__":
    sys.exit(main())

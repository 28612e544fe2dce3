"""`segnet-eval`: accuracy of a file or an engine on labelled frames."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segnet_deploy.cli.command import run, write_result
from segnet_deploy.errors import InputError, UsageError
from segnet_deploy.runtimes.names import CHOICES

if TYPE_CHECKING:
    from segnet_deploy.accuracy.datasets import Example
    from segnet_deploy.segmenter import Segmenter

LAYOUTS = ("camvid", "folders", "sunrgbd")
FIGURES = ("global_accuracy", "class_average", "mean_iou", "boundary_f1")
CLASS_LIMIT = 0.02  # of IoU that a class may lose unsaid


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser(), command, argv)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `segnet-eval`."""
    parser = argparse.ArgumentParser(
        prog="segnet-eval",
        description="Measure accuracy on labelled frames: G, C, mIoU, per class, boundary F1.",
        epilog="exit status: 0 measured, 1 failed, 2 wrong usage",
    )
    parser.add_argument("--engine", required=True, metavar="M.onnx|M.trt")
    add_data_arguments(parser)
    parser.add_argument("--against", metavar="M", help="compare with another file or engine")
    parser.add_argument(
        "--flips", action="store_true", help="with --against: pooling indices that differ, by stage"
    )
    parser.add_argument("--runtime", choices=CHOICES, default="auto")
    parser.add_argument("--against-runtime", choices=CHOICES, help="default: --runtime")
    parser.add_argument("--threads", type=int, help="CPU threads (default: the runtime's choice)")
    parser.add_argument("--no-boundary", action="store_true", help="leave the boundary F1 out")
    parser.add_argument("--confusion", metavar="PNG", help="draw the confusion matrix")
    parser.add_argument("--worst", metavar="PNG", help="draw the frames with the lowest mIoU")
    parser.add_argument("--json", metavar="FILE|-", help="write JSON; - for stdout, no table")
    return parser


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that `read_examples` takes."""
    parser.add_argument("--data", required=True, metavar="DIR", help="frames and labels")
    parser.add_argument("--layout", choices=LAYOUTS, default="folders")
    parser.add_argument("--split", help="CamVid: train, val or test (default: what is there)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take each Nth frame")


def read_examples(arguments: argparse.Namespace) -> list[Example]:
    """Return the labelled frames that the options name. Raises UsageError or InputError."""
    from segnet_deploy.accuracy.datasets import find_examples

    if arguments.every < 1:
        raise UsageError(f"--every {arguments.every}; expected 1 or more")
    found = find_examples(Path(arguments.data), arguments.layout, arguments.split)
    return found[:: arguments.every]


def command(arguments: argparse.Namespace) -> int:
    """Evaluate, print the table, write JSON and pictures."""
    from segnet_deploy.accuracy.pictures import draw_confusion, draw_worst
    from segnet_deploy.frames import write_png
    from segnet_deploy.segmenter import load

    _check(arguments)
    examples = read_examples(arguments)

    def opened(path: str, runtime: str) -> Segmenter:
        return load(path, runtime, "stretch", arguments.threads)

    boundary = not arguments.no_boundary
    with opened(arguments.engine, arguments.runtime) as segmenter:
        classes = segmenter.metadata.classes
        if arguments.against is None:
            result = evaluate(segmenter, examples, boundary)
        else:
            runtime = arguments.against_runtime or arguments.runtime
            with opened(arguments.against, runtime) as other:
                result = evaluate(segmenter, examples, boundary, other)
                if arguments.flips:
                    files = (arguments.engine, arguments.against)
                    pair = (segmenter, other)
                    result["flips"] = _flips(files, pair, examples, arguments.threads)
        result |= {"engine": arguments.engine, "against_engine": arguments.against}
        text = json.dumps(_without_nan(result), indent=1) + "\n"
        write_result(text, arguments.json, format_table(result))
        if arguments.confusion:
            write_png(arguments.confusion, draw_confusion(result["confusion"], classes))
        if arguments.worst:
            write_png(arguments.worst, draw_worst(segmenter, examples, result["frames"]))
    return 0


def evaluate(
    segmenter: Segmenter,
    examples: Sequence[Example],
    boundary: bool = True,
    other: Segmenter | None = None,
) -> dict[str, Any]:
    """Return figures over `examples`, of `other` too, and how often both give one label.

    Raises InputError where labels and frames do not fit, or the class counts differ.
    """
    import numpy as np

    from segnet_deploy.accuracy.metrics import Accuracy, boundary_f1, confusion
    from segnet_deploy.optional import require

    names = segmenter.metadata.classes
    if other is not None and len(other.metadata.classes) != len(names):
        raise InputError(
            f"{len(names)} classes against {len(other.metadata.classes)}; expected two files of "
            "one network"
        )
    segmenters = [segmenter] if other is None else [segmenter, other]
    sums = [np.zeros((len(names),) * 2, np.int64) for _ in segmenters]
    boundaries: list[list[float]] = [[] for _ in segmenters]
    frames, same = [], []
    bar = require("tqdm").tqdm(examples, unit="frame", leave=False, file=sys.stderr)
    for example in bar:
        frame, truth = example.pair(len(names))
        maps = [one.segment(frame) for one in segmenters]
        for i, labels in enumerate(maps):
            counts = confusion(truth, labels, len(names))
            sums[i] += counts
            if i == 0:
                frames.append({"image": example.image.name, "mean_iou": Accuracy(counts).mean_iou})
            if boundary:
                boundaries[i].append(boundary_f1(truth, labels, len(names)))
        if other is not None:
            same.append(float((maps[0] == maps[1]).mean()))
    results = [
        _figures(counts, names, scores) for counts, scores in zip(sums, boundaries, strict=True)
    ]
    agreement = {} if other is None else {"against": results[1], "agreement": float(np.mean(same))}
    return {**results[0], "frames": frames, **agreement}


def format_table(result: dict[str, Any]) -> str:
    """Return the readable form; percent appear only here."""
    other = result.get("against")
    titles = {"global_accuracy": "G", "class_average": "C", "mean_iou": "mIoU", "boundary_f1": "BF"}
    lines = [f"{result['engine']}: {len(result['frames'])} frames", ""]
    header = f"{'':14}{'IoU %':>8}{'recall %':>10}"
    lines.append(header + (f"{'against':>10}{'change':>8}" if other else ""))
    for name, row in result["classes"].items():
        line = f"{name:14}{_percent(row['iou']):>8}{_percent(row['recall']):>10}"
        if other:
            before = other["classes"][name]["iou"]
            line += f"{_percent(before):>10}{_percent(row['iou'] - before):>8}"
        lines.append(line)
    lines.append("")
    for figure in FIGURES:
        line = f"{titles[figure]:14}{_percent(result[figure]):>8}"
        if other:
            change = result[figure] - other[figure]
            line += f"{'':10}{_percent(other[figure]):>10}{_percent(change):>8}"
        lines.append(line)
    if other:
        lines.append(f"labels that are the same: {100 * result['agreement']:.3f} %")
    if flips := result.get("flips"):
        parts = [f"{row['flips']}/{row['windows']}" for row in flips]
        lines.append(f"pooling indices that differ, by stage: {' '.join(parts)}")
    lines += [f"warning: {loss}" for loss in class_losses(result)]
    missing = [name for name, row in result["classes"].items() if math.isnan(row["iou"])]
    if missing:
        lines.append(f"left out of the means, never seen: {', '.join(missing)}")
    return "\n".join(lines)


def class_changes(result: dict[str, Any]) -> dict[str, float]:
    """Return how each class's IoU differs from the other file's, which `result` must have."""
    other = result["against"]["classes"]
    return {name: row["iou"] - other[name]["iou"] for name, row in result["classes"].items()}


def class_losses(result: dict[str, Any]) -> list[str]:
    """Name the classes that lose more than CLASS_LIMIT of IoU against the other file."""
    if result.get("against") is None:
        return []
    return [
        f"{name} loses {-100 * change:.2f} points of IoU"
        for name, change in class_changes(result).items()
        if change < -CLASS_LIMIT
    ]


def _check(arguments: argparse.Namespace) -> None:
    """Say what cannot work before the evaluation. Raises InputError."""
    from segnet_deploy.accuracy.index_flips import check_files
    from segnet_deploy.files import check_writable

    if arguments.flips and arguments.against is None:
        raise UsageError("--flips compares two files; give --against as well")
    if arguments.against_runtime and arguments.against is None:
        raise UsageError("--against-runtime runs a second file; give --against as well")
    if arguments.flips:
        check_files((arguments.engine, arguments.against))
    for path in (arguments.json, arguments.confusion, arguments.worst):
        if path and path != "-":
            check_writable(path)


def _figures(counts: Any, names: Sequence[str], boundaries: Sequence[float]) -> dict[str, Any]:
    import numpy as np

    from segnet_deploy.accuracy.metrics import Accuracy

    accuracy = Accuracy(counts)
    recall, iou = accuracy.recall, accuracy.iou
    known = [score for score in boundaries if not math.isnan(score)]
    return {
        "global_accuracy": accuracy.global_accuracy,
        "class_average": accuracy.class_average,
        "mean_iou": accuracy.mean_iou,
        "boundary_f1": float(np.mean(known)) if known else float("nan"),
        "classes": {
            name: {"iou": float(iou[i]), "recall": float(recall[i])} for i, name in enumerate(names)
        },
        "confusion": counts.tolist(),
    }


def _flips(
    files: tuple[str, str],
    segmenters: tuple[Segmenter, Segmenter],
    examples: Sequence[Example],
    threads: int | None,
) -> list[dict[str, int]]:
    """Count the indices that differ, in a run of their own."""
    from segnet_deploy.accuracy.index_flips import IndexFlips

    with IndexFlips(files, segmenters, threads) as counted:
        for example in examples:
            counted.add(example.frame())
        pairs = zip(counted.flips, counted.windows, strict=True)
        return [{"flips": flips, "windows": windows} for flips, windows in pairs]


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.2f}"


def _without_nan(value: Any) -> Any:
    """JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


if __name__ == "__main__":
    sys.exit(main())

"""`segnet-eval`: accuracy of a file or an engine on labelled frames."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segnet_deploy.cli import options
from segnet_deploy.cli.command import run, write_result
from segnet_deploy.cli.device import choose_device
from segnet_deploy.cli.parser import Parser, group
from segnet_deploy.errors import UsageError
from segnet_deploy.runtimes.base import CHOICES
from segnet_deploy.schemas import head

if TYPE_CHECKING:
    from segnet_deploy.accuracy.datasets import Example
    from segnet_deploy.segmenter import Segmenter


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    return run(build_parser(), command, argv)


def build_parser() -> Parser:
    """Return the parser of `segnet-eval`."""
    parser = Parser(
        "segnet-eval",
        "Measure accuracy on labelled frames: G, C, mIoU, per class, boundary F1.",
        exits="0 measured, 1 failed or a frame could not be read",
    )
    options.add_engine(parser)
    options.add_runtime(parser)
    options.add_device(parser)
    options.add_json(parser)
    add = group(parser, "output").add_argument
    add("--confusion", metavar="PNG", help="draw the confusion matrix")
    add("--worst", metavar="PNG", help="draw the frames with the lowest mIoU")
    options.add_labelled_data(parser)
    add = group(parser, "measurement").add_argument
    add(
        "--against",
        type=options.model_file,
        metavar=options.ENGINE,
        help="compare with another file or engine",
    )
    add("--against-runtime", choices=CHOICES, help="its runtime (default: --runtime)")
    add("--flips", action="store_true", help="with --against: indices that differ, by stage")
    add("--no-boundary", action="store_true", help="do not compute the boundary F1")
    return parser


def read_examples(arguments: argparse.Namespace) -> list[Example]:
    """Return the labelled frames of --data and its options. Raises UsageError or InputError."""
    from segnet_deploy.accuracy.datasets import find_examples

    options.check_positive(arguments, "every")
    found = find_examples(
        Path(arguments.data), arguments.layout, arguments.split, arguments.progress
    )
    return found[:: arguments.every]


def command(arguments: argparse.Namespace) -> int:
    """Evaluate, print the table, write JSON and pictures."""
    _check(arguments)
    examples = read_examples(arguments)
    with _open(arguments, arguments.engine, arguments.runtime) as segmenter:
        result = _evaluate(arguments, segmenter, examples)
        engines = {"engine": arguments.engine, "against_engine": arguments.against}
        result = {**head("evaluation"), **engines, **result}
        text = json.dumps(_without_nan(result), indent=1) + "\n"
        write_result(text, arguments.json, format_table(result))
        _draw(arguments, segmenter, examples, result)
    if unreadable := len(result["unreadable"]):
        print(f"error: {unreadable} of {len(examples)} frames could not be read", file=sys.stderr)
    return 1 if unreadable else 0


def format_table(result: dict[str, Any]) -> str:
    """Return the result as text; only here are shares printed in percent."""
    from segnet_deploy.accuracy.evaluate import FIGURES, class_losses

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
    lines += _calibration_lines(result)
    if other:
        lines.append(f"equal labels: {100 * result['agreement']:.3f} %")
    if flips := result.get("flips"):
        parts = [f"{row['flips']}/{row['windows']}" for row in flips]
        lines.append(f"pooling indices that differ, by stage: {' '.join(parts)}")
    lines += [f"warning: {loss}" for loss in class_losses(result)]
    missing = [name for name, row in result["classes"].items() if math.isnan(row["iou"])]
    if missing:
        lines.append(f"not in the means, since they never occur: {', '.join(missing)}")
    return "\n".join(lines)


def _calibration_lines(result: dict[str, Any]) -> list[str]:
    """Return the figures of uncertainty, if the file has it."""
    if "ece" not in result:
        return []
    shares = result["accuracy_of_most_certain"].items()
    parts = [f"{_percent(value)} % of the first {float(share):.0%}" for share, value in shares]
    return [
        f"right among the most certain pixels: {', '.join(parts)}",
        f"calibration error (ECE): {_percent(result['ece'])} %",
    ]


def _check(arguments: argparse.Namespace) -> None:
    """Raise what cannot work before the evaluation starts."""
    from segnet_deploy.accuracy.index_flips import check_files
    from segnet_deploy.files import check_writable

    options.check_positive(arguments, "threads")
    choose_device(arguments)
    if arguments.flips and arguments.against is None:
        raise UsageError("--flips compares two files; give --against as well")
    if arguments.against_runtime and arguments.against is None:
        raise UsageError("--against-runtime runs a second file; give --against as well")
    if arguments.flips:
        check_files((arguments.engine, arguments.against))
    for path in (arguments.json, arguments.confusion, arguments.worst):
        if path and path != "-":
            check_writable(path)


def _open(arguments: argparse.Namespace, path: str, runtime: str) -> Segmenter:
    from segnet_deploy.segmenter import load

    rebuild = options.rebuild_callback(arguments)
    return load(path, runtime, "stretch", arguments.threads, rebuild, arguments.progress)


def _evaluate(
    arguments: argparse.Namespace, segmenter: Segmenter, examples: Sequence[Example]
) -> dict[str, Any]:
    from segnet_deploy.accuracy.evaluate import count_flips, evaluate

    boundary, progress = not arguments.no_boundary, arguments.progress
    if arguments.against is None:
        return evaluate(segmenter, examples, boundary, progress=progress)
    runtime = arguments.against_runtime or arguments.runtime
    with _open(arguments, arguments.against, runtime) as other:
        result = evaluate(segmenter, examples, boundary, other, progress)
        if arguments.flips:
            files, pair = (arguments.engine, arguments.against), (segmenter, other)
            result["flips"] = count_flips(files, pair, examples, arguments.threads, progress)
    return result


def _draw(
    arguments: argparse.Namespace,
    segmenter: Segmenter,
    examples: Sequence[Example],
    result: dict[str, Any],
) -> None:
    from segnet_deploy.accuracy.pictures import draw_confusion, draw_worst
    from segnet_deploy.frames import write_png

    if arguments.confusion:
        classes = segmenter.metadata.classes
        write_png(arguments.confusion, draw_confusion(result["confusion"], classes))
    if arguments.worst:
        write_png(arguments.worst, draw_worst(segmenter, examples, result["frames"]))


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.2f}"


def _without_nan(value: Any) -> Any:
    """Replace NaN, which JSON does not have, by null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


if __name__ == "__main__":
    sys.exit(main())

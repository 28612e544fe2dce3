"""The options of `segnet-export`, and which of them contradict one another."""

from __future__ import annotations

import argparse

from segnet_deploy.errors import UsageError
from segnet_deploy.passes import FORMS, PRECISIONS
from segnet_export.int8 import add_arguments, check_arguments


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `segnet-export`."""
    parser = argparse.ArgumentParser(
        prog="segnet-export",
        description="Write a trained SegNet as ONNX with its pooling indices intact.",
        epilog="exit status: 0 written and checked, 1 failed (no file), 2 wrong usage",
    )
    parser.add_argument(
        "model", nargs="?", metavar="model.pt|some.onnx", help="checkpoint, or an ONNX file"
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="F",
        help="default: the model's name + .onnx; from an .onnx its name + _FORM or _PRECISION",
    )
    shape = parser.add_argument_group("shape")
    shape.add_argument("--imgsz", nargs=2, type=int, metavar=("H", "W"), help="default: 360 480")
    shape.add_argument("--batch", type=int, default=1, help="images per call (default: 1)")
    shape.add_argument(
        "--dynamic",
        choices=("batch", "size"),
        help="leave the batch open, or the batch, height and width",
    )
    data = parser.add_argument_group("what the model was trained on")
    data.add_argument("--mean", nargs=3, type=float, metavar=("A", "B", "C"), help="0-255 scale")
    data.add_argument("--std", nargs=3, type=float, metavar=("A", "B", "C"), help="0-255 scale")
    order = data.add_mutually_exclusive_group()
    order.add_argument("--bgr", dest="order", action="store_const", const="bgr")
    order.add_argument("--rgb", dest="order", action="store_const", const="rgb")
    data.add_argument("--classes", metavar="camvid|sunrgbd|FILE", help="names and colours")
    data.add_argument("--num-classes", type=int, metavar="K", help="checked against the file")
    file = parser.add_argument_group("the ONNX file")
    file.add_argument("--form", choices=FORMS, default="standard")
    file.add_argument("--precision", choices=PRECISIONS, default="fp32")
    file.add_argument("--io", choices=("tensor", "frame"), default="tensor")
    file.add_argument("--opset", type=int, default=20, help="20 or newer (default: 20)")
    file.add_argument(
        "--engine", metavar="F", help="build a TensorRT engine as well (segnet-build)"
    )
    file.add_argument("--target", metavar="smXX[,smYY]", help="with --engine: GPUs to build for")
    file.add_argument(
        "--for",
        dest="target_runtime",
        choices=("any", "tensorrt"),
        default="any",
        help="tensorrt: int8 as its parser takes it (segnet-build derives that by itself)",
    )
    add_arguments(parser)
    load = parser.add_argument_group("what a checkpoint's names cannot tell")
    load.add_argument(
        "--arch",
        metavar="NAME",
        help="a network of the paper, such as fcn-8s or deconvnet; without a checkpoint its "
        "weights are drawn (--num-classes, default 11)",
    )
    load.add_argument("--geometry", choices=("ceil", "floor"), help="pooling of odd sizes")
    load.add_argument("--bn-order", choices=("bn-relu", "relu-bn"), help="after a convolution")
    load.add_argument("--module", metavar="pkg.mod:Class", help="your own class for the weights")
    load.add_argument("--module-args", metavar="JSON", help="its keyword arguments")
    load.add_argument(
        "--unsafe-load", action="store_true", help="unpickle objects: runs code from the file"
    )
    check = parser.add_argument_group("the parity gate")
    check.add_argument(
        "--image", action="append", default=[], metavar="F|DIR", help="natural images to check on"
    )
    check.add_argument(
        "--min-agreement",
        type=float,
        metavar="SHARE",
        help="of labels (default: fp32 0.9999, fp16 and bf16 0.99, int8 0.93)",
    )
    return parser


def check_options(arguments: argparse.Namespace) -> None:
    """Raise UsageError where a value cannot be or two options contradict one another."""
    if arguments.imgsz and min(arguments.imgsz) < 1:
        height, width = arguments.imgsz
        raise UsageError(f"--imgsz {height} {width}; expected two numbers above 0, such as 360 480")
    check_arguments(arguments)
    if not arguments.model and not arguments.arch:
        raise UsageError("no model; give a checkpoint, an ONNX file, or --arch NAME")
    if arguments.arch and arguments.module:
        raise UsageError("--arch and --module both name a network; give one")
    if arguments.arch or arguments.module:
        told = {"--geometry": arguments.geometry, "--bn-order": arguments.bn_order}
        told["--num-classes"] = arguments.module and arguments.num_classes
        for name, value in told.items():
            if value:
                raise UsageError(f"{name} is for checkpoints that name no network; leave it out")
    if arguments.module_args and not arguments.module:
        raise UsageError("--module-args goes with --module")
    _check_file_options(arguments)


def _check_file_options(arguments: argparse.Namespace) -> None:
    """Raise UsageError for what the file, the engine and the gate cannot be."""
    checkpoint = not (arguments.model or "").endswith(".onnx")
    if arguments.target_runtime == "tensorrt" and arguments.precision != "int8" and checkpoint:
        raise UsageError("--for tensorrt goes with --precision int8, or with an INT8 .onnx file")
    if arguments.engine and arguments.precision == "int8" and arguments.form == "lowered":
        raise UsageError("--engine takes the standard form of an INT8 file")
    if arguments.target and not arguments.engine:
        raise UsageError("--target goes with --engine F")
    if arguments.engine and arguments.form == "plugin":
        raise UsageError("--engine takes the standard or lowered form; it rewrites the file itself")
    if arguments.batch < 1:
        raise UsageError(f"--batch {arguments.batch}; expected 1 or more")
    if arguments.std and not all(arguments.std):
        raise UsageError(f"--std {arguments.std}; expected three numbers that are not 0")
    if arguments.opset < 20:
        raise UsageError(f"--opset {arguments.opset}; expected 20 or newer")
    if arguments.min_agreement is not None and not 0 <= arguments.min_agreement <= 1:
        raise UsageError(f"--min-agreement {arguments.min_agreement}; expected 0 to 1")

"""The options of `segnet-export`, and the checks of their values and combinations."""

from __future__ import annotations

import argparse
from pathlib import Path

from segnet_deploy.cli import options
from segnet_deploy.cli.parser import Parser, group
from segnet_deploy.errors import InputError, UsageError
from segnet_deploy.passes import FORMS, PRECISIONS
from segnet_deploy.passes.sampling_names import DEFAULT_SAMPLES, MAX_SAMPLES
from segnet_export.caffe_options import add_caffe_options, check_caffe_options
from segnet_export.device_options import add_device_options, check_device_options
from segnet_export.engine_options import add_engine_options, check_engine_options
from segnet_export.export_options import DYNAMIC, OLDEST_OPSET
from segnet_export.int8_options import add_int8_options, check_int8_options

NEEDS_CHECKPOINT = (
    *("io", "dynamic", "imgsz", "batch", "opset", "num_classes", "arch", "geometry"),
    *("bn_order", "module", "module_args", "input_channels", "key", "outputs", "mc_dropout"),
    "dropout",
)


def build_parser() -> Parser:
    """Return the parser of `segnet-export`."""
    parser = Parser(
        "segnet-export",
        "Write a trained SegNet as ONNX with its pooling indices intact.",
        exits="0 written and checked, 1 failed (no file)",
    )
    parser.add_argument(
        "model",
        nargs="?",
        type=options.model_file,
        metavar="model.pt|net.caffemodel|some.onnx|NAME",
        help="a checkpoint, a Caffe model, an ONNX file, or a pretrained network: demo, street",
    )
    _add_input_options(parser)
    _add_output_options(parser)
    options.add_data(parser)
    add_int8_options(parser)
    _add_limits(parser)
    _add_training_options(parser)
    _add_network_options(parser)
    _add_sampling_options(parser)
    add_engine_options(parser)
    add_device_options(parser)
    add_caffe_options(parser)
    return parser


def _add_input_options(parser: Parser) -> None:
    options.add_batch(parser)
    add = group(parser, "input").add_argument
    add(
        "--image",
        action="append",
        default=[],
        metavar="FILE|DIR",
        help="natural images to check on (default: drawn street scenes)",
    )
    options.add_imgsz(parser)
    add(
        "--dynamic",
        choices=DYNAMIC,
        help="axes left open: the batch, or the batch, height and width",
    )


def _add_training_options(parser: Parser) -> None:
    add = group(parser, "what the model was trained on").add_argument
    for name, title in (("--mean", "mean"), ("--std", "standard deviation")):
        add(
            name,
            nargs=3,
            type=float,
            metavar=("A", "B", "C"),
            help=f"{title} by channel, on the 0-255 scale",
        )
    order = group(parser, "what the model was trained on").add_mutually_exclusive_group()
    for name in ("bgr", "rgb"):
        order.add_argument(
            f"--{name}",
            dest="order",
            action="store_const",
            const=name,
            help=f"the model reads {name.upper()} images",
        )
    add("--classes", metavar="camvid|driving|pascal|sunrgbd|FILE", help="names and colours")
    add("--num-classes", type=int, metavar="K", help="checked against the checkpoint")


def _add_sampling_options(parser: Parser) -> None:
    add = group(parser, "uncertainty").add_argument
    add(
        "--mc-dropout",
        nargs="?",
        type=int,
        const=DEFAULT_SAMPLES,
        metavar="SAMPLES",
        help="sample the network's dropout: mean probabilities and an uncertainty map (default "
        "without a number: %(const)s)",
    )
    add(
        "--dropout",
        choices=("bayesian", "pascal"),
        help="with --mc-dropout: place dropout in a SegNet that was trained with it: bayesian, as "
        "in Bayesian SegNet; pascal, before every pool and unpooling",
    )


def _add_output_options(parser: Parser) -> None:
    add = group(parser, "output").add_argument
    add(
        "-o",
        "--output",
        metavar="FILE",
        help="default: the model's name with .onnx; for an ONNX file with _FORM or _PRECISION",
    )
    add("--precision", choices=PRECISIONS, default="fp32", help="default: fp32")
    add(
        "--form",
        choices=FORMS,
        default="standard",
        help="standard: MaxPool indices and MaxUnpool; lowered: plain operators; plugin: the "
        "TensorRT plugin's operators (default: standard)",
    )
    add(
        "--io",
        choices=("tensor", "frame"),
        default="tensor",
        help="tensor: float NCHW in, logits out; frame: uint8 BGR in, uint8 labels out "
        "(default: tensor)",
    )
    add(
        "--outputs",
        metavar="NAME[,NAME]",
        help="which tensors of the network's result to export, the label output first (default: "
        "all; the label output is 'out', or the first)",
    )
    add(
        "--opset",
        type=int,
        default=OLDEST_OPSET,
        metavar="N",
        help=f"{OLDEST_OPSET} or newer (default: {OLDEST_OPSET})",
    )


def _add_network_options(parser: Parser) -> None:
    add = group(parser, "what the checkpoint does not determine").add_argument
    add(
        "--arch",
        metavar="NAME",
        help="a network of the paper, such as fcn-8s or deconvnet; without a checkpoint its "
        "weights are random (--num-classes, default 11); segnet with a checkpoint: read unknown "
        "names in the file's order",
    )
    add("--geometry", choices=("ceil", "floor"), help="pooling of odd sizes")
    add("--bn-order", choices=("bn-relu", "relu-bn"), help="order after each convolution")
    add("--module", metavar="pkg.mod:Class", help="your own class for the weights")
    add("--module-args", metavar="JSON", help="its keyword arguments")
    add(
        "--input-channels",
        type=int,
        metavar="N",
        help="of the image that your own class reads (default: what its first convolution needs)",
    )
    add(
        "--key",
        metavar="NAME",
        help="which weights of a file with several networks, such as student or state_dict_ema",
    )
    add(
        "--unsafe-load",
        action="store_true",
        help="import and call what the file names: runs code from the file",
    )


def _add_limits(parser: Parser) -> None:
    options.add_max_drop(parser)
    group(parser, "limits").add_argument(
        "--min-agreement",
        type=float,
        metavar="SHARE",
        help="of labels, 0 to 1, the mean over all images (default: fp32 0.9999, fp16 0.98 or, if "
        "only weights are rounded, 0.99, bf16 0.97, int8 0.93)",
    )


def check_options(arguments: argparse.Namespace) -> None:
    """Raise UsageError if a value is out of range or two options contradict one another."""
    options.check_size(arguments, "imgsz")
    defaults = build_parser().parse_args([])
    check_device_options(arguments, defaults)
    check_int8_options(arguments)
    check_engine_options(arguments)
    check_caffe_options(arguments, defaults)
    _check_network_options(arguments)
    _check_sampling_options(arguments)
    _check_file_options(arguments)


def assumes_segnet(arguments: argparse.Namespace) -> bool:
    """Return whether the user states that the checkpoint is a SegNet, whatever its names."""
    return arguments.arch == "segnet" and bool(arguments.model)


def _check_network_options(arguments: argparse.Namespace) -> None:
    if not arguments.model and not arguments.arch:
        raise UsageError("no model; give a checkpoint, an ONNX file, or --arch NAME")
    if arguments.arch and arguments.module:
        raise UsageError("--arch and --module both name a network; give one")
    if (arguments.arch and not assumes_segnet(arguments)) or arguments.module:
        given = {"--geometry": arguments.geometry, "--bn-order": arguments.bn_order}
        given["--num-classes"] = arguments.module and arguments.num_classes
        for name, value in given.items():
            if value:
                raise UsageError(f"{name} does not apply with --arch or --module; omit it")
    for name in ("module_args", "input_channels"):
        if getattr(arguments, name) is not None and not arguments.module:
            raise UsageError(f"--{name.replace('_', '-')} requires --module")
    if arguments.input_channels is not None and arguments.input_channels < 1:
        raise UsageError(f"--input-channels {arguments.input_channels}; expected 1 or more")


def _check_sampling_options(arguments: argparse.Namespace) -> None:
    samples = arguments.mc_dropout
    if samples is not None and not 1 <= samples <= MAX_SAMPLES:
        raise UsageError(f"--mc-dropout {samples}; expected 1 to {MAX_SAMPLES} samples, such as 8")
    if arguments.dropout and samples is None:
        raise UsageError("--dropout requires --mc-dropout: otherwise a file drops nothing")
    if samples is not None and (arguments.dynamic or arguments.batch != 1):
        raise UsageError("--mc-dropout needs one image of static size; omit --dynamic and --batch")


def _check_file_options(arguments: argparse.Namespace) -> None:
    checkpoint = not (arguments.model or "").endswith(".onnx")
    if arguments.target_runtime == "tensorrt" and arguments.precision != "int8" and checkpoint:
        raise UsageError("--for tensorrt requires --precision int8, or an INT8 .onnx file")
    if arguments.batch < 1:
        raise UsageError(f"--batch {arguments.batch}; expected 1 or more")
    if arguments.std and not all(arguments.std):
        raise UsageError(f"--std {arguments.std}; expected three numbers that are not 0")
    if arguments.opset < OLDEST_OPSET:
        raise UsageError(f"--opset {arguments.opset}; expected {OLDEST_OPSET} or newer")
    if arguments.min_agreement is not None and not 0 <= arguments.min_agreement <= 1:
        raise UsageError(f"--min-agreement {arguments.min_agreement}; expected 0 to 1")


def check_conversion_options(arguments: argparse.Namespace) -> None:
    """Raise UsageError for an option that an ONNX file does not support."""
    default = build_parser().parse_args([arguments.model])
    for name in NEEDS_CHECKPOINT:
        if getattr(arguments, name) != getattr(default, name):
            raise UsageError(
                f"--{name.replace('_', '-')} requires a checkpoint; an .onnx file supports --form, "
                "--precision, --classes, --mean, --std, --bgr, --rgb and --image"
            )


def check_paths(
    source: Path | None, target: Path, engine: str | None, prototxt: str | None = None
) -> None:
    """Raise InputError if the folder of `target` is missing, UsageError if two files are one."""
    if not target.parent.is_dir():
        raise InputError(f"-o {target}: no such folder: {target.parent}")
    seen: dict[Path, str] = {}
    paths = {"model": source, "--prototxt": prototxt, "-o": target, "--build-engine": engine}
    for name, path in paths.items():
        if path is None:
            continue
        resolved = Path(path).resolve()
        if resolved in seen:
            raise UsageError(f"{seen[resolved]} and {name} are one file, {path}; give another name")
        seen[resolved] = name

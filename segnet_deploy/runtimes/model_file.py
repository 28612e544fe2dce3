"""What an ONNX file contains, as runtimes need to know it, and its rewritten bytes."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from segnet_deploy.errors import InputError
from segnet_deploy.optional import require
from segnet_deploy.pretrained import find_file

if TYPE_CHECKING:
    import onnx_ir as ir


MAX_BYTES = 2**31  # protobuf's limit; larger weights are stored outside the file


@dataclass(frozen=True)
class ModelFile:
    """Facts about one file, without its weights.

    `precision`, of the weights, is fp32, fp16 or bf16; `outputs` are the graph's, in its order.
    """

    path: Path
    props: dict[str, str]
    has_unpool: bool
    has_plugin: bool
    suits_winograd: bool = True
    precision: str = "fp32"
    outputs: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> ModelFile:
        """Read the facts of `path`. Raises InputError if it is not a readable ONNX file."""
        from segnet_deploy.passes import contract
        from segnet_deploy.passes.to_precision import half_precision_of

        path = find_file(path)
        model = load_model(path)
        operators = {(node.domain, node.op_type) for node in model.graph.all_nodes()}
        file = cls(
            path,
            dict(model.metadata_props),
            has_unpool=("", "MaxUnpool") in operators,
            has_plugin=any(domain == contract.DOMAIN for domain, _ in operators),
            suits_winograd=_suits_winograd(model.graph),
            precision=half_precision_of(model) or "fp32",
            outputs=tuple(str(value.name) for value in model.graph.outputs),
        )
        release(model)
        return file

    def lowered(self) -> bytes:
        """Return the file with every pool/unpool pair as plain operators.

        Raises UnsupportedModelError if that would not be exact.
        """
        from segnet_deploy.passes.to_form import to_form

        return _serialized(to_form(load_model(self.path), "lowered").model)

    def complete(self) -> bytes:
        """Return the file as it is, with external weights inside."""
        return _serialized(load_model(self.path))

    def with_onnxruntime_ops(self) -> bytes:
        """Return the file with every pair as operators of the library for ONNX Runtime.

        Raises UnsupportedModelError if that would not be exact.
        """
        from segnet_deploy.passes.pad_image_channels import pad_image_channels
        from segnet_deploy.passes.to_onnxruntime_ops import to_onnxruntime_ops

        model = to_onnxruntime_ops(load_model(self.path)).model
        return _serialized(pad_image_channels(model).model)

    def by_definition(self) -> bytes:
        """Return the file with every MaxUnpool written as what ONNX says it does.

        Raises UnsupportedModelError for unknown sizes.
        """
        from segnet_deploy.passes.scatter_unpooling import scatter_unpooling

        return _serialized(scatter_unpooling(load_model(self.path)).model)


def _serialized(model: ir.Model) -> bytes:
    ir = require("onnx_ir")
    ir.external_data.load_to_model(model)
    data: bytes = ir.to_proto(model).SerializeToString()
    release(model)
    return data


def _suits_winograd(graph: ir.Graph) -> bool:
    """Return whether most weights are in 3x3 convolutions of stride 1."""
    from segnet_deploy.passes.graph import ints_attribute

    small = total = 0
    for node in graph:
        weight = node.inputs[1] if node.op_type in ("Conv", "ConvTranspose") else None
        if weight is None or weight.shape is None or not weight.shape.is_static():
            continue
        count = math.prod(weight.shape.numpy())
        total += count
        once = {
            *ints_attribute(node, "strides", (1, 1)),
            *ints_attribute(node, "dilations", (1, 1)),
        } == {1}
        if node.op_type == "Conv" and tuple(weight.shape)[2:] == (3, 3) and once:
            small += count
    return 2 * small >= total


def release(model: ir.Model) -> None:
    """Free the weights now: a graph has reference cycles, so dropping it is not enough."""
    for value in model.graph.initializers.values():
        value.const_value = None
    for node in model.graph.all_nodes():
        node.attributes.clear()


_CHECKPOINT = "export it first: segnet-export {path} -o {stem}.onnx"
# What to do with the files of other tools, by suffix.
_OTHER_FILES = {
    **dict.fromkeys((".pt", ".pth", ".safetensors", ".ckpt"), _CHECKPOINT),
    ".caffemodel": "export it first: segnet-export {path} --prototxt F -o {stem}.onnx",
    ".prototxt": "give the model: segnet-export M.caffemodel --prototxt {path} -o {stem}.onnx",
    **dict.fromkeys((".xml", ".bin"), "OpenVINO reads ONNX: give {stem}.onnx --runtime openvino"),
    ".param": "ncnn runs the ONNX file, without a conversion: give {stem}.onnx --runtime ncnn",
    ".tflite": "it runs in LiteRT (docs/how-to/devices.md); give the ONNX file",
    ".rknn": "it runs on the device (docs/how-to/devices.md); give the ONNX file",
}


def load_model(path: Path) -> ir.Model:
    """Read an ONNX file or a pretrained network.

    Weights that it stores in fp16 for computing in fp32 are fp32 here. Raises InputError if it is
    missing, damaged or not an ONNX file.
    """
    reader, path = require("onnx_ir"), find_file(path)
    if not path.is_file():
        raise InputError(f"no such file: {path}; expected an ONNX file from segnet-export")
    if advice := _OTHER_FILES.get(path.suffix.lower()):
        raise InputError(f"{path} is not an ONNX file: {advice.format(path=path, stem=path.stem)}")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path} is larger than 2 GB, which no ONNX file can be")
    try:
        model: ir.Model = reader.load(path)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # the parser's own types vary between protobuf versions
        raise InputError(
            f"{path} is not an ONNX file, or is truncated ({_first_cause(error)}); copy or export "
            "it again"
        ) from error
    if not model.graph.outputs or not model.graph.inputs:
        raise InputError(f"{path} contains no ONNX graph, or is truncated; copy or export it again")
    from segnet_deploy.passes.half_weights import expand_weights
    from segnet_deploy.runtimes.check_model import check_model

    check_model(model, path)
    return expand_weights(model).model


def _first_cause(error: BaseException) -> str:
    """Return one line of the error that led to `error`: onnx-ir wraps each in many others."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def save_model(model: ir.Model, path: Path) -> None:
    """Write an ONNX file. Raises InputError; OSError (a full disk) passes through."""
    writer = require("onnx_ir")
    try:
        writer.save(model, path)
    except OSError:
        raise
    except Exception as error:  # a model that cannot be serialised
        raise InputError(f"cannot write {path}: {error}") from error

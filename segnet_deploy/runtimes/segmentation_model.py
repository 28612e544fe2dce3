"""Whether an engine is a segmentation model, and the classes of one whose file names none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from segnet_deploy.classes import load_classes
from segnet_deploy.errors import InputError, UnsupportedModelError
from segnet_deploy.metadata import Metadata
from segnet_deploy.native.max_unpool import MAX_CLASSES
from segnet_deploy.runtimes.base import Engine, Port


def complete_metadata(metadata: Metadata, engine: Engine) -> Metadata:
    """Check the ports; return `metadata` with class names and colours if it has none.

    Raises UnsupportedModelError if the engine is not a segmentation model, InputError if the
    metadata does not fit it.
    """
    inputs, output = engine.inputs, engine.outputs[0]
    channel_axis = 3 if metadata.io == "frame" else 1
    port = inputs[0]
    images = inputs[:1] if engine.masks is not None else inputs
    if len(images) != 1 or len(port.shape) != 4 or port.shape[channel_axis] not in (3, None):
        raise not_segmentation(engine, f"its input is {_ports(inputs)}")
    size = port.shape[1:3] if metadata.io == "frame" else port.shape[2:4]
    if len(output.shape) == 4 and output.shape[1] == 1:
        raise UnsupportedModelError(
            f"the file has one output channel for {engine.name}; give it two classes and a "
            "probability first: segnet-export model.onnx -o two.onnx"
        )
    if not _is_map(output, size):
        raise not_segmentation(
            engine, f"its input is {_ports(inputs)}, its output {_ports([output])}"
        )
    count = output.shape[1] if len(output.shape) == 4 else None
    if metadata.classes:
        if count is not None and count != len(metadata.classes):
            raise InputError(
                f"metadata names {len(metadata.classes)} classes but the output has {count}; "
                "export again with --classes"
            )
        return metadata
    classes = load_classes(None, count or MAX_CLASSES)
    return replace(metadata, classes=classes.names, palette=classes.palette)


def _is_map(port: Port, size: tuple[int | None, ...]) -> bool:
    """Return whether an output is (N, C, H, W) floats or (N, H, W) labels of the input's size."""
    kinds = {4: "f", 3: "iu"}
    if port.dtype.kind not in kinds.get(len(port.shape), ""):
        return False
    if len(port.shape) == 4 and not 2 <= (port.shape[1] or 2) <= MAX_CLASSES:
        return False
    return all(a is None or b is None or a == b for a, b in zip(port.shape[-2:], size, strict=True))


def not_segmentation(engine: Engine, why: str) -> UnsupportedModelError:
    """Return the error of an engine that is not a segmentation model, and why."""
    return UnsupportedModelError(
        f"the file is not a segmentation model for {engine.name}: {why}; expected one "
        "(N, 3, H, W) float or (N, H, W, 3) uint8 input, and (N, classes, H, W) logits or "
        "(N, H, W) labels of the same size: export it with segnet-export"
    )


def _ports(ports: Sequence[Port]) -> str:
    return ", ".join(port.describe() for port in ports)

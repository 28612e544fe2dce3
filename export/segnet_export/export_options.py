"""The options of `export`, `trace` and `write`: how a file is written, and how it is checked.

Each group is a dataclass, and a TypedDict of the same fields: the functions accept the fields as
keywords, and the TypedDict declares these keywords to editors and type checkers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from segnet_deploy.errors import InputError
from segnet_deploy.passes import FORMS, PRECISIONS
from segnet_deploy.types import Frame

OLDEST_OPSET = 20
DYNAMIC = ("batch", "size")
_PRECISIONS = tuple(name for name in PRECISIONS if name != "int8")  # int8 needs calibration


@dataclass(frozen=True)
class ExportOptions:
    """How a file is written.

    `form`: 'standard' (ONNX MaxPool indices and MaxUnpool), 'lowered' (plain operators) or
    'plugin' (the operators of the TensorRT plugin).
    `precision`: 'fp32', 'fp16' or 'bf16'.
    `io`: 'tensor', (N, C, H, W) float32 in and (N, classes, H, W) logits out; or 'frame',
    (N, H, W, 3) uint8 BGR in and (N, H, W) uint8 labels out.
    `dynamic`: None, 'batch', or 'size' (batch, height and width).
    `mean` and `std`: three numbers each on the 0-255 scale, in `channel_order`, 'bgr' or 'rgb'.
    `classes`: 'camvid', 'sunrgbd', the path of a file with names and colours, or None.
    `opset`: of the ONNX file, 20 or newer.
    `outputs`: the names of the tensors to export, the label output first; None: all that the module
    returns. Tensors in dicts have their keys as names, those in tuples `output_0` and so on.
    `mc_dropout`: the number of samples of the module's dropout, 0 for none: the file then computes
    mean probabilities and their uncertainty (segnet_deploy.passes.sample_dropout).
    `multiple`: height and width must be multiples of it, in px.
    `network` and `source_sha256`: recorded in the file; the architecture's name and the SHA-256 of
    the checkpoint.

    Raises InputError for a value outside these.

    >>> ExportOptions(form="lowered", dynamic="size").precision
    'fp32'
    """

    form: str = "standard"
    precision: str = "fp32"
    io: str = "tensor"
    dynamic: str | None = None
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    channel_order: str = "bgr"
    classes: str | None = None
    opset: int = OLDEST_OPSET
    outputs: Sequence[str] | None = None
    mc_dropout: int = 0
    multiple: int = 1
    network: str = ""
    source_sha256: str = ""

    def __post_init__(self) -> None:
        for name, value, known in (
            ("form", self.form, FORMS),
            ("precision", self.precision, _PRECISIONS),
            ("io", self.io, ("tensor", "frame")),
            ("dynamic", self.dynamic, (None, *DYNAMIC)),
        ):
            if value not in known:
                raise InputError(f"{name} {value!r}; expected {', '.join(map(str, known))}")
        if self.opset < OLDEST_OPSET:
            raise InputError(f"opset {self.opset}; expected {OLDEST_OPSET} or newer")


@dataclass(frozen=True)
class GateOptions:
    """How a file is checked against PyTorch.

    `images`: (H, W, 3) uint8 BGR frames to check on; none: drawn street scenes.
    `min_agreement`: the share of labels, 0 to 1, that must agree given the same pooling indices.
    `min_reduced`: the share of labels that a file in fp16 or bf16 must keep, as the mean over the
    images; None: the default of what each runtime computes in.
    `runtimes`: their names, such as ('onnxruntime',); None: all that are installed.
    `adversarial`: also check on inputs whose windows are tied by construction; False is for
    benchmarks of random weights.

    >>> GateOptions(runtimes=["onnxruntime"]).min_agreement
    0.9999
    """

    images: Sequence[Frame] = ()
    min_agreement: float = 0.9999
    min_reduced: float | None = None
    runtimes: Sequence[str] | None = None
    adversarial: bool = True


class ExportKeywords(TypedDict, total=False):
    """The fields of ExportOptions, as keywords."""

    form: str
    precision: str
    io: str
    dynamic: str | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channel_order: str
    classes: str | None
    opset: int
    outputs: Sequence[str] | None
    mc_dropout: int
    multiple: int
    network: str
    source_sha256: str


class GateKeywords(TypedDict, total=False):
    """The fields of GateOptions, as keywords."""

    images: Sequence[Frame]
    min_agreement: float
    min_reduced: float | None
    runtimes: Sequence[str] | None
    adversarial: bool


class Keywords(ExportKeywords, GateKeywords, total=False):
    """The keywords of `export` and `write`."""

"""fp32 ONNX file -> INT8 file, checked in every installed runtime before it is there."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from segnet_deploy.accuracy.agreement import Agreement, check_agreement, compare_labels
from segnet_deploy.errors import InputError, UnsupportedModelError
from segnet_deploy.files import atomic_path
from segnet_deploy.frames import find_inputs, is_video, read_image
from segnet_deploy.metadata import Metadata
from segnet_deploy.passes import contract
from segnet_deploy.passes.restore_unpooling import restore_unpooling
from segnet_deploy.passes.to_form import to_form
from segnet_deploy.passes.to_precision import is_quantised, reduced_weight_types
from segnet_deploy.passes.to_symmetric_int8 import to_symmetric_int8
from segnet_deploy.quant import GATE_FRAMES
from segnet_deploy.quant.calibration import Statistics, calibrate
from segnet_deploy.quant.qdq import insert_qdq
from segnet_deploy.runtimes.model_file import load_model
from segnet_deploy.segmenter import load
from segnet_deploy.types import Array, Frame


@dataclass(frozen=True)
class Quantised:
    """The file, how many convolutions are int8, which stayed fp32, and the gate's rows."""

    path: Path
    int8: int
    kept: tuple[str, ...]
    agreement: tuple[Agreement, ...]


class Quantiser:
    """One fp32 file and what calibration found; writes INT8 files of it.

    `frames` are (H, W, 3) uint8 BGR. Raises InputError, UnsupportedModelError or EngineError.
    """

    def __init__(
        self,
        source: Path,
        frames: Sequence[Frame],
        method: str = "percentile",
        full_range: bool = False,
    ):
        self.source, self.frames, self.full_range = source, frames, full_range
        model = self.fp32()
        self.metadata = Metadata.from_props(dict(model.metadata_props))
        self.inputs = _inputs(source, frames)
        self.statistics: Statistics = calibrate(model, self.inputs, method)

    def model(self, keep: Collection[str] = ()) -> ir.Model:
        """Return the INT8 model in standard form; the sites in `keep` stay fp32."""
        return insert_qdq(self.fp32(), self.statistics, keep, self.full_range).model

    def write(
        self, path: Path, form: str, keep: Collection[str] = (), for_tensorrt: bool = False
    ) -> None:
        """Write the INT8 file in `form`."""
        model = self.model(keep)
        if for_tensorrt:
            model = to_symmetric_int8(model).model
        # TensorRT takes integers between Q and DQ from plugins only.
        model = to_form(model, form, integers=not for_tensorrt or form == "plugin").model
        metadata = replace(self.metadata, form=form, precision="int8", fp32_layers=tuple(keep))
        model.metadata_props.update(metadata.to_props())
        ir.save(model, path)

    def quantise(
        self,
        target: Path,
        form: str,
        least: float,
        keep: Collection[str] = (),
        for_tensorrt: bool = False,
    ) -> Quantised:
        """Write `target` and gate it on the calibration frames. Raises ParityError: no file."""
        with atomic_path(target) as temporary:
            self.write(temporary, form, keep, for_tensorrt)
            found = compare_labels(self.source, temporary, spread(self.frames, GATE_FRAMES))
            advice = (
                "calibrate on more frames of what the net was made for, try another "
                "--calib-method, keep layers in fp32 with --max-drop, or lower --min-agreement"
            )
            check_agreement(found, least, "int8", advice)
        count = len(self.sites()) - len(keep)
        return Quantised(target, count, tuple(keep), tuple(found))

    def sites(self) -> list[str]:
        """Return the names of the convolutions that can be quantised."""
        from segnet_deploy.quant.sites import find_sites

        return [site.name for site in find_sites(self.fp32().graph)]

    def fp32(self) -> ir.Model:
        """Return the source in standard form, read anew."""
        model = restore_unpooling(load_model(self.source)).model
        ir.external_data.load_to_model(model)
        if is_quantised(model) or reduced_weight_types(model):
            raise UnsupportedModelError(
                f"{self.source} is in a reduced precision already; start from the fp32 file"
            )
        if contract.DOMAIN in model.opset_imports:
            raise UnsupportedModelError(
                f"{self.source} has the plugin's operators; start from the standard or lowered form"
            )
        return model


def read_calibration(folder: Path, count: int) -> list[Frame]:
    """Return up to `count` images of `folder`, evenly spread. Raises InputError.

    Images of one colour tell nothing: they are left out with a warning, and refused where
    there is nothing else.
    """
    if count < 1:
        raise InputError(f"--calib-frames {count}; expected 1 or more")
    paths = [path for path in find_inputs([folder]) if not is_video(path)]
    if not paths:
        raise InputError(f"{folder} holds videos only; expected images to calibrate on")
    chosen = spread(paths, count)
    frames = [(path, read_image(path, extra="quant")) for path in chosen]
    useful = [frame for _, frame in frames if np.ptp(frame) > 0]
    blank = [path.name for path, frame in frames if not np.ptp(frame)]
    if not useful:
        raise InputError(
            f"all {len(frames)} calibration images of {folder} are of one colour; expected images "
            "of what the net was made for"
        )
    if blank:
        print(
            f"warning: {len(blank)} calibration images are of one colour and left out ({blank[0]})",
            file=sys.stderr,
        )
    return useful


def spread(items: Sequence, count: int) -> list:  # type: ignore[type-arg]
    """Return at most `count` items at even distances."""
    if len(items) <= count:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


def _inputs(source: Path, frames: Sequence[Frame]) -> list[Array]:
    """Return the network's input for each batch of frames."""
    with load(source, "onnxruntime") as segmenter:
        step = segmenter.batch or 1
        return [segmenter.preprocess(frames[i : i + step]).x for i in range(0, len(frames), step)]

"""One fp32 ONNX file and its calibration; writes INT8 files of it, checked in every runtime."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx_ir as ir

from segnet_deploy.accuracy.agreement import Agreement, check_agreement, compare_labels
from segnet_deploy.errors import InputError, UnreadableInputError, UnsupportedModelError
from segnet_deploy.files import atomic_path
from segnet_deploy.frames import IMAGE_SUFFIXES, read_image, scan_folder, spread
from segnet_deploy.metadata import Metadata
from segnet_deploy.passes import contract
from segnet_deploy.passes.remove_dropout import remove_dropout
from segnet_deploy.passes.restore_unpooling import restore_unpooling
from segnet_deploy.passes.to_form import to_form, to_tensorrt_form
from segnet_deploy.passes.to_precision import is_quantised, reduced_weight_types
from segnet_deploy.progress import Progress, naming, silent
from segnet_deploy.quant import DEFAULT_METHOD, GATE_FRAMES
from segnet_deploy.quant.calibration import Statistics, calibrate
from segnet_deploy.quant.insert_qdq import insert_qdq
from segnet_deploy.quant.sites import find_sites
from segnet_deploy.runtimes.model_file import load_model, save_model
from segnet_deploy.segmenter import load
from segnet_deploy.types import Array, Frame

T = TypeVar("T")
_ADVICE = (
    "calibrate on more frames of what the network was trained for, try another --calib-method, "
    "keep layers in fp32 with --max-drop, or lower --min-agreement"
)


@dataclass(frozen=True)
class Int8File:
    """A written INT8 file: its number of int8 convolutions, those kept in fp32, and the gate."""

    path: Path
    int8: int
    kept: tuple[str, ...]
    agreement: tuple[Agreement, ...]


class Quantiser:
    """Calibrates `source`, an fp32 file, on `frames` and writes INT8 files of it.

    `frames` are (H, W, 3) uint8 BGR. `method` is one of METHODS; `full_range` lets weights use
    all of int8, which saturates on CPUs without VNNI. Raises InputError, UnsupportedModelError
    or EngineError.
    """

    def __init__(
        self,
        source: Path,
        frames: Sequence[Frame],
        method: str = DEFAULT_METHOD,
        full_range: bool = False,
        progress: Progress = silent,
    ):
        self.source, self.frames, self.full_range = source, frames, full_range
        self.progress = progress
        model = self.fp32()
        self.metadata = Metadata.from_props(dict(model.metadata_props))
        self.inputs = _inputs(source, frames)
        self.statistics: Statistics = calibrate(model, self.inputs, method, progress)

    def model(self, keep: Collection[str] = ()) -> ir.Model:
        """Return the INT8 model in standard form; the sites in `keep` stay fp32."""
        return insert_qdq(self.fp32(), self.statistics, keep, self.full_range).model

    def write(
        self, path: Path, form: str, keep: Collection[str] = (), for_tensorrt: bool = False
    ) -> None:
        """Write the INT8 file in `form`, unchecked. Raises InputError."""
        model = (to_tensorrt_form if for_tensorrt else to_form)(self.model(keep), form).model
        metadata = replace(self.metadata, form=form, precision="int8", fp32_layers=tuple(keep))
        model.metadata_props.update(metadata.to_props())
        save_model(model, path)

    def write_checked(
        self,
        target: Path,
        form: str,
        minimum: float,
        keep: Collection[str] = (),
        for_tensorrt: bool = False,
    ) -> Int8File:
        """Write `target` if every runtime keeps `minimum` of the labels of calibration frames.

        Raises ParityError otherwise; then no file is written.
        """
        with atomic_path(target) as temporary:
            self.write(temporary, form, keep, for_tensorrt)
            frames = spread(self.frames, GATE_FRAMES)
            progress = naming(self.progress, temporary, target)
            found = compare_labels(self.source, temporary, frames, progress=progress)
            check_agreement(found, minimum, "int8", _ADVICE, self.progress)
        return Int8File(target, len(self.sites()) - len(keep), tuple(keep), tuple(found))

    def sites(self) -> list[str]:
        """Return the names of the convolutions that can be quantised."""
        return [site.name for site in find_sites(self.fp32().graph)]

    def fp32(self) -> ir.Model:
        """Return the source in standard form, read again."""
        model = remove_dropout(restore_unpooling(load_model(self.source)).model).model
        ir.external_data.load_to_model(model)
        if is_quantised(model) or reduced_weight_types(model):
            raise UnsupportedModelError(
                f"{self.source} is already in a reduced precision; start from the fp32 file"
            )
        if contract.DOMAIN in model.opset_imports:
            raise UnsupportedModelError(
                f"{self.source} has the plugin's operators; start from the standard or lowered form"
            )
        return model


def read_calibration(folder: Path, count: int, progress: Progress = silent) -> list[Frame]:
    """Return up to `count` images of `folder`, evenly spread. Raises InputError.

    Images of a single colour carry no information: they are left out with a warning to
    `progress`, and it is an error if there are no others.
    """
    if count < 1:
        raise InputError(f"--calib-frames {count}; expected 1 or more")
    paths = scan_folder(folder, IMAGE_SUFFIXES, progress=progress)
    frames = _read_all(spread(paths, count))
    useful = [frame for _, frame in frames if np.ptp(frame) > 0]
    blank = [path.name for path, frame in frames if not np.ptp(frame)]
    if not useful:
        raise InputError(
            f"all {len(frames)} calibration images of {folder} have a single colour; expected "
            "images of what the network was trained for"
        )
    if blank:
        progress(
            f"warning: {len(blank)} calibration images have a single colour and are left out "
            f"({blank[0]})"
        )
    return useful


def _read_all(paths: Sequence[Path]) -> list[tuple[Path, Frame]]:
    """Read every image. Raises InputError with the number of those that cannot be read."""
    frames: list[tuple[Path, Frame]] = []
    errors: list[str] = []
    for path in paths:
        try:
            frames.append((path, read_image(path, extra="quant")))
        except UnreadableInputError as error:
            errors.append(str(error))
    if errors:
        raise InputError(
            f"{len(errors)} of {len(paths)} calibration images cannot be read; mend or remove "
            f"them: {'; '.join(errors)}"
        )
    return frames


def _inputs(source: Path, frames: Sequence[Frame]) -> list[Array]:
    """Return the network's input for each batch of frames."""
    with load(source, "onnxruntime") as segmenter:
        step = segmenter.batch or 1
        return [segmenter.preprocess(frames[i : i + step]).x for i in range(0, len(frames), step)]

"""The files that are tried, and how each is made from the fp32 file.

fp32, fp16, bf16    the whole network in one precision
int8 percentile, int8 minmax   two calibrations
int8 mixed          the most sensitive layers stay in fp32, as many as the budget requires
tensorrt ...        engines, where a GPU responds and a builder is installed
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segnet_deploy.errors import MissingDependencyError, UsageError
from segnet_deploy.metadata import Metadata
from segnet_deploy.progress import Progress
from segnet_deploy.runtimes.model_file import ModelFile
from segnet_deploy.system import cuda_driver
from segnet_deploy.tuning.settings import TuneSettings


@dataclass(frozen=True)
class Variant:
    """One file: its name, precision, and for INT8 the calibration; `engine` for TensorRT."""

    name: str
    precision: str
    method: str = ""
    mixed: bool = False
    engine: bool = False

    @property
    def file(self) -> str:
        """Its file name."""
        return self.name.replace(" ", "-") + (".trt" if self.engine else ".onnx")


FP32 = Variant("fp32", "fp32")
HALVES = (Variant("fp16", "fp16"), Variant("bf16", "bf16"))
INT8 = (
    Variant("int8 percentile", "int8", "percentile"),
    Variant("int8 minmax", "int8", "minmax"),
    Variant("int8 mixed", "int8", "percentile", mixed=True),
)
ENGINES = (
    Variant("tensorrt fp16", "fp16", engine=True),
    Variant("tensorrt fp32", "fp32", engine=True),
)


def has_gpu_builder() -> bool:
    """Return whether a GPU responds and a TensorRT builder is installed for it."""
    from segnet_deploy.runtimes.tensorrt.library import choose

    if not cuda_driver.device_count():
        return False
    try:
        choose("auto", False)
    except (MissingDependencyError, UsageError):
        return False
    return True


def make_variant(
    variant: Variant, source: Path, folder: Path, settings: TuneSettings, progress: Progress
) -> Path:
    """Write a variant of the fp32 file `source` into `folder`, unless it is there already.

    The search itself judges accuracy, so that no limit applies here. Raises SegNetError.
    """
    target = folder / variant.file
    if target.is_file():
        return target
    if variant.engine:
        _build(variant, source, target, progress)
    elif variant.precision == "int8":
        _quantise(variant, source, target, settings, progress)
    else:
        from segnet_deploy.conversion.convert import convert

        form = source_form(source)
        convert(source, target, form, variant.precision, min_agreement=0.0, progress=progress)
    return target


def source_form(source: Path) -> str:
    """Return the form of the files to make: lowered if the source is, else standard."""
    recorded = Metadata.from_props(ModelFile.read(source).props).form
    return "lowered" if recorded == "lowered" else "standard"


def _quantise(
    variant: Variant, source: Path, target: Path, settings: TuneSettings, progress: Progress
) -> None:
    from segnet_deploy.quant.quantise import quantise

    assert settings.calibration is not None
    quantise(
        source,
        target,
        settings.calibration,
        form=source_form(source),
        method=variant.method,
        frames=settings.calibration_frames,
        max_drop=settings.max_drop if variant.mixed else None,
        data=settings.data if variant.mixed else None,
        layout=settings.layout,
        split=settings.split if variant.mixed else None,
        min_agreement=0.0,
        progress=progress,
    )


def _build(variant: Variant, source: Path, target: Path, progress: Progress) -> None:
    from segnet_deploy.tensorrt_build.builder import BuildOptions, build

    build(source, target, BuildOptions(precision=variant.precision), progress)

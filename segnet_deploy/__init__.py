"""SegNet on the device: open, run, measure, convert and build exported models, without torch.

Each name below is imported when it is first used, so that importing this package is fast. What
the commands do is available here:

segnet-predict  load, list_pretrained, Result, to_coco, predict_files
segnet-batch    segment_archive
segnet-eval     find_examples, evaluate
segnet-export   convert, quantise and convert_caffe; for checkpoints see segnet_export
segnet-build    build
segnet-bench    run_model, compare
segnet-tune     tune
segnet-triton   write_repository
segnet-camera   Camera; sources and outputs are in segnet_deploy.camera
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segnet_deploy.errors import (
    EngineError,
    InputError,
    MissingDependencyError,
    ParityError,
    SegNetError,
    UnsupportedModelError,
    UsageError,
)

if TYPE_CHECKING:
    from segnet_deploy.accuracy.datasets import Example, find_examples
    from segnet_deploy.accuracy.evaluate import evaluate
    from segnet_deploy.batch.segment_archive import BatchOptions, BatchResult, segment_archive
    from segnet_deploy.bench.comparison import ComparisonExtras, ComparisonSettings, compare
    from segnet_deploy.bench.result import Comparison, RunResult
    from segnet_deploy.bench.run_model import run_model
    from segnet_deploy.caffe.convert_caffe import CaffeResult, convert_caffe
    from segnet_deploy.camera import Camera
    from segnet_deploy.conversion.convert import ConvertResult, convert
    from segnet_deploy.metadata import Metadata
    from segnet_deploy.prediction import InputReport, Predictions, predict_files
    from segnet_deploy.pretrained import PretrainedNet, list_pretrained
    from segnet_deploy.quant.quantise import QuantiseResult, quantise
    from segnet_deploy.results.coco import to_coco
    from segnet_deploy.results.result import Result
    from segnet_deploy.runtimes.function_engine import FunctionEngine
    from segnet_deploy.schemas import read_schema
    from segnet_deploy.segmenter import Segmenter, load
    from segnet_deploy.serving.repository import Repository, ServingOptions, write_repository
    from segnet_deploy.tensorrt_build.builder import BuildOptions, Built, build, rebuild
    from segnet_deploy.tuning.result import TuneResult
    from segnet_deploy.tuning.settings import TuneSettings
    from segnet_deploy.tuning.tune import tune

__version__ = "0.1.0"  # the one place where it is written

__all__ = [
    "BatchOptions",
    "BatchResult",
    "BuildOptions",
    "Built",
    "CaffeResult",
    "Camera",
    "Comparison",
    "ComparisonExtras",
    "ComparisonSettings",
    "ConvertResult",
    "EngineError",
    "Example",
    "FunctionEngine",
    "InputError",
    "InputReport",
    "Metadata",
    "MissingDependencyError",
    "ParityError",
    "Predictions",
    "PretrainedNet",
    "QuantiseResult",
    "Repository",
    "Result",
    "RunResult",
    "SegNetError",
    "Segmenter",
    "ServingOptions",
    "TuneResult",
    "TuneSettings",
    "UnsupportedModelError",
    "UsageError",
    "__version__",
    "build",
    "compare",
    "convert",
    "convert_caffe",
    "evaluate",
    "find_examples",
    "list_pretrained",
    "load",
    "predict_files",
    "quantise",
    "read_schema",
    "rebuild",
    "run_model",
    "segment_archive",
    "to_coco",
    "tune",
    "write_repository",
]

_MODULES = {
    "accuracy.datasets": ("Example", "find_examples"),
    "accuracy.evaluate": ("evaluate",),
    "batch.segment_archive": ("BatchOptions", "BatchResult", "segment_archive"),
    "bench.comparison": ("ComparisonExtras", "ComparisonSettings", "compare"),
    "bench.result": ("Comparison", "RunResult"),
    "bench.run_model": ("run_model",),
    "caffe.convert_caffe": ("CaffeResult", "convert_caffe"),
    "camera": ("Camera",),
    "conversion.convert": ("ConvertResult", "convert"),
    "metadata": ("Metadata",),
    "prediction": ("InputReport", "Predictions", "predict_files"),
    "pretrained": ("PretrainedNet", "list_pretrained"),
    "quant.quantise": ("QuantiseResult", "quantise"),
    "results.coco": ("to_coco",),
    "results.result": ("Result",),
    "runtimes.function_engine": ("FunctionEngine",),
    "schemas": ("read_schema",),
    "segmenter": ("Segmenter", "load"),
    "serving.repository": ("Repository", "ServingOptions", "write_repository"),
    "tuning.result": ("TuneResult",),
    "tuning.settings": ("TuneSettings",),
    "tuning.tune": ("tune",),
    "tensorrt_build.builder": ("BuildOptions", "Built", "build", "rebuild"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    import importlib

    if name in _HOMES:
        return getattr(importlib.import_module(f"segnet_deploy.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'segnet_deploy' has no attribute {name!r}")

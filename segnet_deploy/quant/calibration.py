"""Calibration: the range of every source, and the channel means of every convolution's input.

A range is everything seen (minmax), a percentile of it, or the part that keeps the most
information (entropy). Histograms and searches are ONNX Runtime's own.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir

from segnet_deploy.errors import InputError, UnsupportedModelError
from segnet_deploy.optional import require
from segnet_deploy.progress import Progress, silent
from segnet_deploy.quant import METHODS
from segnet_deploy.quant.graph_values import read_values
from segnet_deploy.quant.sites import find_sites
from segnet_deploy.types import Array

PERCENTILE = 99.99
_BINS, _LEVELS = (
    2048,
    128,
)  # bins of the histogram; levels of the quantised one in the entropy search
_SAMPLES = 1_000_000  # values of one tensor and frame that enter its histogram


@dataclass(frozen=True)
class Statistics:
    """(low, high) by the name of each source; channel means (C,) by the name of each input."""

    ranges: Mapping[str, tuple[float, float]]
    means: Mapping[str, Array]


def calibrate(
    model: ir.Model, inputs: Sequence[Array], method: str, progress: Progress = silent
) -> Statistics:
    """Run `model` on `inputs` and return the statistics of its convolutions.

    Raises InputError (unknown method), UnsupportedModelError (a value is not finite).
    """
    if method not in METHODS:
        raise InputError(f"calibration method {method!r}; expected {', '.join(METHODS)}")
    check_weights(model)
    sites = find_sites(model.graph)
    sources = list(dict.fromkeys(str(site.source.name) for site in sites))
    read = list(dict.fromkeys(str(site.path[-1].name) for site in sites))
    if not sites:
        raise UnsupportedModelError("the model has no convolution to quantise")
    collector: Collector = _MinMax() if method == "minmax" else _Histogram(method)
    sums = dict.fromkeys(read, np.zeros(()))
    for values, means in read_values(
        model, sources, inputs, read, f"calibrating ({method})", progress
    ):
        for name, value in values.items():
            if not np.isfinite(value).all():
                raise UnsupportedModelError(
                    f"'{name}' is not finite on a calibration frame: the network overflows; check "
                    "--mean and --std, and the checkpoint"
                )
            collector.add(name, value)
        sums = {name: sums[name] + mean.astype(np.float64) for name, mean in means.items()}
    return Statistics(collector.ranges(), {n: total / len(inputs) for n, total in sums.items()})


def check_weights(model: ir.Model) -> None:
    """Raise UnsupportedModelError if a weight is NaN or infinite (pads may be)."""
    for site in find_sites(model.graph):
        for value in site.conv.inputs[1:]:
            tensor = None if value is None else ir.convenience.get_const_tensor(value)
            if tensor is not None and not np.isfinite(tensor.numpy()).all():
                raise UnsupportedModelError(
                    f"weight '{value and value.name}' contains NaN or infinity; use another "
                    "checkpoint"
                )


class Collector(Protocol):
    """Receives values by name, and returns their ranges at the end."""

    def add(self, name: str, value: Array) -> None: ...

    def ranges(self) -> dict[str, tuple[float, float]]: ...


class _MinMax:
    def __init__(self) -> None:
        self._found: dict[str, tuple[float, float]] = {}

    def add(self, name: str, value: Array) -> None:
        low, high = self._found.get(name, (np.inf, -np.inf))
        self._found[name] = (min(low, float(value.min())), max(high, float(value.max())))

    def ranges(self) -> dict[str, tuple[float, float]]:
        return self._found


class _Histogram:
    def __init__(self, method: str):
        library = require("onnxruntime.quantization.calibrate", extra="quant")
        self._collector: Any = library.HistogramCollector(
            method, False, _BINS, _LEVELS, PERCENTILE, None
        )

    def add(self, name: str, value: Array) -> None:
        flat = value.reshape(-1)
        self._collector.collect_value({name: flat[:: -(-flat.size // _SAMPLES)]})

    def ranges(self) -> dict[str, tuple[float, float]]:
        with contextlib.redirect_stdout(io.StringIO()):  # the library prints
            found = self._collector.compute_collection_result()
        return {name: (float(low), float(high)) for name, (low, high, *_) in found.items()}

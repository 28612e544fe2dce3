"""How fast is ONNX Runtime's CUDA provider with our operators, and without?

The package comes from `--extra` (gpu/wheels.py) if it has one, otherwise from the installation. It
finds cuDNN and the other libraries in torch, which is loaded first. The files are those of
gpu/prepare.py. A dry run exports a small network and uses the CPU provider.
"""

from __future__ import annotations

import collections
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gpu.libraries import find_native
from gpu.network import PAPER_SECONDS, SIZE, SMALL_SIZE
from gpu.onnx_skeletons import read_skeleton, write_skeletons
from gpu.place import Place
from gpu.record import Record
from gpu.torch_pair import draw_network
from segnet_deploy.bench.timing import Timing
from segnet_deploy.errors import EngineError
from segnet_deploy.native.find import find_library
from segnet_deploy.types import Array
from segnet_export.models import SegNet

ROUNDS = 50
PREPARATION = 75.0  # s, after which no further session is opened
FASTER = 1.0  # our operators against the lowered form, fp16
TOLERANCE = 0.02  # of the largest logit: convolutions are chosen by time, with other roundings


@dataclass(frozen=True)
class Variant:
    """A file, and the CUDA provider's options that differ from its defaults."""

    file: str
    tf32: bool = True
    nhwc: bool = False
    graph: bool = False

    def __str__(self) -> str:
        words = (self.file, *(n for n in ("nhwc", "graph") if getattr(self, n)))
        return " ".join((*words, "" if self.tf32 else "no tf32")).strip()

    def options(self) -> dict[str, str]:
        """Return the options of the CUDA provider."""
        return {
            "cudnn_conv_algo_search": "EXHAUSTIVE",
            "use_tf32": str(int(self.tf32)),
            "prefer_nhwc": str(int(self.nhwc)),
            "enable_cuda_graph": str(int(self.graph)),
        }


VARIANTS = (
    Variant("operators-fp16"),
    Variant("lowered-fp16"),
    Variant("operators-fp16", graph=True),
    Variant("operators-fp32", tf32=False),
    Variant("lowered-fp32", tf32=False),
    Variant("own-fp32", tf32=False),
    Variant("plain-fp32", tf32=False),
    Variant("operators-fp32"),
    Variant("operators-int8"),
    Variant("lowered-int8"),
    Variant("operators-fp16", nhwc=True),
)


class Bound:
    """A session of one variant with its input and output on the device."""

    def __init__(self, place: Place, variant: Variant, model: bytes, library: Path, x: Array):
        ort = import_onnxruntime(place)
        settings = ort.SessionOptions()
        settings.log_severity_level = 3
        settings.enable_profiling = True
        settings.profile_file_prefix = str(place.folder / f"ort-{variant.file}")
        if variant.file.startswith("operators"):
            settings.register_custom_ops_library(str(library))
        providers: list[Any] = ["CPUExecutionProvider"]
        if not place.dry:
            providers.insert(0, ("CUDAExecutionProvider", variant.options()))
        self.session = ort.InferenceSession(model, settings, providers=providers)
        if not place.dry and "CUDAExecutionProvider" not in self.session.get_providers():
            raise EngineError("the CUDA provider cannot be loaded; see the log")
        device = place.device
        self.binding = self.session.io_binding()
        self._input = ort.OrtValue.ortvalue_from_numpy(x, device, 0)
        output = self.session.get_outputs()[0]
        shape, kind = list(output.shape), np.float32
        self._output = ort.OrtValue.ortvalue_from_shape_and_type(shape, kind, device, 0)
        self.binding.bind_ortvalue_input(self.session.get_inputs()[0].name, self._input)
        self.binding.bind_ortvalue_output(output.name, self._output)

    def run(self) -> None:
        """Run once; returns when the result is there."""
        self.session.run_with_iobinding(self.binding)

    def logits(self) -> Array:
        """Return the last result."""
        found: Array = self._output.numpy()
        return found

    def providers(self) -> dict[str, int]:
        """End the profile; return how many nodes ran on each provider, with copies by name."""
        events = json.loads(Path(self.session.end_profiling()).read_bytes())
        nodes: dict[str, str] = {}
        for event in events:
            arguments = event.get("args") or {}
            if event.get("cat") == "Node" and "provider" in arguments:
                copy = "Memcpy" in str(arguments.get("op_name"))
                nodes[event["name"]] = "copies" if copy else str(arguments["provider"])
        return dict(collections.Counter(nodes.values()))


def import_onnxruntime(place: Place) -> Any:
    """Import ONNX Runtime, from the extra folder if it has the package."""
    extra = str(place.extra)
    if place.extra is not None and (place.extra / "onnxruntime").is_dir() and extra not in sys.path:
        sys.path.insert(0, extra)
    import onnxruntime

    if not place.dry:
        onnxruntime.preload_dlls(directory="")
    return onnxruntime


def run(place: Place, record: Record) -> None:
    """Time every variant that the provider takes, in the same rounds. Raises EngineError."""
    ort = import_onnxruntime(place)
    record.fact("onnxruntime", {"version": ort.__version__, "file": ort.__file__})
    record.fact("providers", ort.get_available_providers())
    record.fact("torch", torch.__version__)
    if not place.dry and "CUDAExecutionProvider" not in ort.get_available_providers():
        raise EngineError("this wheel has no CUDA provider; give one with --extra")
    folder = skeleton_folder(place)
    record.fact("weights", "drawn here with seed 0, of the exported weights' standard deviation")
    library = _operator_library(place)
    x = np.random.default_rng(0).standard_normal((1, 3, *place.sized(SIZE, SMALL_SIZE)))
    bound: dict[str, Bound] = {}
    began = time.perf_counter()
    for variant in VARIANTS:
        started = time.perf_counter()
        if started - began > place.sized(PREPARATION, 1e9):
            record.row("onnxruntime", variant=str(variant), error="no time was left")
            continue
        try:
            model = read_skeleton(folder / f"{variant.file}.onnx")
            opened = Bound(place, variant, model, library, x.astype(np.float32))
            for _ in range(2):
                opened.run()
            nodes = opened.providers()
        except Exception as error:  # ONNX Runtime's types have no common base
            message = f"{type(error).__name__}: {error}"[:300]
            record.row("onnxruntime", variant=str(variant), error=message)
            continue
        seconds = time.perf_counter() - started
        record.row("sessions", variant=str(variant), nodes=nodes, start_seconds=seconds)
        bound[str(variant)] = opened
    # On the CPU our operators have no fp16.
    _compare(record, bound, place.sized(("fp16", "fp32 no tf32"), ("fp32 no tf32",)))
    _time(place, record, bound)


def _compare(record: Record, bound: dict[str, Bound], kinds: tuple[str, ...]) -> None:
    """Compare the logits of the operators with those of the lowered form, same weights."""
    for kind in kinds:
        ours, theirs = (bound.get(f"{form}-{kind}") for form in ("operators", "lowered"))
        if ours is None or theirs is None:
            record.must(f"operators and lowered form of {kind} both run", False)
            continue
        wanted = theirs.logits()
        difference = float(np.abs(ours.logits() - wanted).max() / np.abs(wanted).max())
        close = difference <= TOLERANCE and bool(np.isfinite(wanted).all())
        record.must(f"operators agree with the lowered form in {kind}", close, difference)


def _time(place: Place, record: Record, bound: dict[str, Bound]) -> None:
    samples: dict[str, list[float]] = {name: [] for name in bound}
    for _ in range(place.sized(ROUNDS, 2)):
        for name, session in bound.items():
            before = time.perf_counter()
            session.run()
            samples[name].append(time.perf_counter() - before)
    medians = {}
    for name, values in samples.items():
        timing = Timing(tuple(values))
        medians[name] = timing.median
        record.row(
            "onnxruntime",
            variant=name,
            batch=1,
            wall_seconds=timing.summary(),
            share_of_paper=timing.median / PAPER_SECONDS,
        )
    ours, theirs = medians.get("operators-fp16"), medians.get("lowered-fp16")
    ratio = theirs / ours if ours and theirs else None
    record.speed_goal("our operators, times faster than the lowered form, fp16", ratio, FASTER)


def skeleton_folder(place: Place) -> Path:
    """Return the folder of the ONNX files. Raises EngineError."""
    if not place.dry:
        folder = place.prebuilt / "onnx"
        if not folder.is_dir():
            raise EngineError(f"{folder} is missing; run benchmarks/gpu/prepare.py first")
        return folder
    folder = place.folder / "onnx"
    if not folder.is_dir():
        write_skeletons(draw_network(SegNet, 4), folder, SMALL_SIZE)
    return folder


def _operator_library(place: Place) -> Path:
    if not place.dry:
        return find_native("onnxruntime", place)[0]
    library = find_library("segnet_onnxruntime")
    if library is None:
        raise EngineError("the operators for ONNX Runtime were not built: install a C++ compiler")
    return library

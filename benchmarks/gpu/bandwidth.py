"""How near are pool and unpool to a copy's bandwidth, at SegNet's five planes?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gpu.libraries import Kernels, open_kernels
from gpu.place import Call, Place
from gpu.record import Record
from gpu.window_rule import TYPES, pooled_size
from segnet_deploy.bench.timing import Timing

PLANES = ((64, 360, 480), (128, 180, 240), (256, 90, 120), (512, 45, 60), (512, 23, 30))
SMALL_PLANES = ((16, 8, 32), (32, 5, 6))
MEMORY = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}
ROUNDS, WARM_CALLS = 20, 10
OF_COPY, TIMES_FASTER = 0.9, 3.0  # the goals


@dataclass(frozen=True)
class Setting:
    """What is timed: a type, a layout, and a shape (N, C, H, W)."""

    kind: str
    layout: str
    shape: tuple[int, int, int, int]


def run(place: Place, record: Record) -> None:
    """Time every type, layout, plane and batch, with the L2 cache flushed and warm."""
    kernels = open_kernels(place)
    record.fact("libraries", [kernels.origin])
    shares: dict[str, list[float]] = {"pool": [], "unpool": [], "pair": []}
    for batch in (8, 1):
        for c, h, w in place.sized(PLANES, SMALL_PLANES):
            for layout in MEMORY:
                for kind in ("fp16", "fp32", "bf16", "int8"):
                    setting = Setting(kind, layout, (batch, c, h, w))
                    found = measure(place, kernels, setting)
                    record.row("bandwidth", **found)
                    if batch == 8 and (c, h, w) == place.sized(PLANES, SMALL_PLANES)[0]:
                        _collect(shares, found)
    for name in ("pool", "unpool"):
        values = shares[name]
        goal = f"{name}: share of the copy's bandwidth, largest plane, batch 8, worst"
        record.speed_goal(goal, min(values, default=None), OF_COPY)
    worst = min(shares["pair"], default=None)
    record.speed_goal(
        "pair: times faster than PyTorch's, largest plane, worst", worst, TIMES_FASTER
    )


def measure(place: Place, kernels: Kernels, setting: Setting) -> dict[str, Any]:
    """Return one row: median seconds per call, and their ratios, flushed and warm."""
    tensors = _tensors(place, setting)
    calls = _calls(place, kernels, setting, tensors)
    missing = _torch_calls(setting, tensors, calls)
    row: dict[str, Any] = {
        "type": setting.kind,
        "layout": setting.layout,
        "shape": list(setting.shape),
    }
    if missing:
        row["torch"] = missing
    for name, flush in (("flushed", True), ("warm", False)):
        times = 1 if flush else place.sized(WARM_CALLS, 1)
        timings = place.interleaved(calls, place.sized(ROUNDS, 2), flush=flush, times=times)
        row[name] = _figures(timings, tensors)
    return row


def _tensors(place: Place, setting: Setting) -> dict[str, Tensor]:
    n, c, h, w = setting.shape
    rows, columns = pooled_size(h, w, True)
    dtype, memory = TYPES[setting.kind], MEMORY[setting.layout]
    x = torch.randn(setting.shape, device=place.device).mul_(40).to(dtype)
    x = x.contiguous(memory_format=memory)
    y = torch.empty((n, c, rows, columns), dtype=dtype, device=place.device, memory_format=memory)
    codes = torch.empty((n, -(-c // 16), rows, columns), dtype=torch.int32, device=place.device)
    return {"x": x, "y": y, "codes": codes, "back": torch.empty_like(x)}


def _calls(
    place: Place, kernels: Kernels, setting: Setting, tensors: Mapping[str, Tensor]
) -> dict[str, Call]:
    """Return a copy, and our pair, by name."""
    pair = kernels.pair(setting.kind, setting.layout, setting.shape)
    at = {name: tensor.data_ptr() for name, tensor in tensors.items()}
    x, back = tensors["x"], tensors["back"]
    return {
        "copy": lambda: back.copy_(x),
        "pool": lambda: pair.pool(at["x"], at["y"], at["codes"], place.stream),
        "unpool": lambda: pair.unpool(at["y"], at["codes"], at["back"], place.stream),
    }


def _torch_calls(
    setting: Setting, tensors: Mapping[str, Tensor], calls: dict[str, Call]
) -> str | None:
    """Add PyTorch's pair to `calls`, or return why PyTorch has none for this type."""
    x, size = tensors["x"], list(setting.shape[2:])
    try:
        y, index = F.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)
        F.max_unpool2d(y, index, [2, 2], [2, 2], output_size=size)
    except RuntimeError as error:
        return str(error).splitlines()[0]
    calls["torch pool"] = lambda: F.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)
    calls["torch unpool"] = lambda: F.max_unpool2d(y, index, [2, 2], [2, 2], output_size=size)
    return None


def _figures(timings: Mapping[str, Timing], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return seconds, and bytes per second of pool and unpool as shares of the copy's."""
    seconds = {name: timing.median for name, timing in timings.items()}
    size = {name: tensor.numel() * tensor.element_size() for name, tensor in tensors.items()}
    copied = 2 * size["x"] / seconds["copy"]
    moved = size["x"] + size["y"] + size["codes"]
    found: dict[str, Any] = {
        "seconds": seconds,
        "p99": {name: timing.percentile(99) for name, timing in timings.items()},
        "copy_bytes_per_second": copied,
        "pool_of_copy": moved / seconds["pool"] / copied,
        "unpool_of_copy": moved / seconds["unpool"] / copied,
    }
    if "torch pool" in seconds:
        of_torch = seconds["torch pool"] + seconds["torch unpool"]
        found["pair_times_faster"] = of_torch / (seconds["pool"] + seconds["unpool"])
    return found


def _collect(shares: dict[str, list[float]], row: Mapping[str, Any]) -> None:
    flushed = row["flushed"]
    shares["pool"].append(flushed["pool_of_copy"])
    shares["unpool"].append(flushed["unpool_of_copy"])
    if "pair_times_faster" in flushed:
        shares["pair"].append(flushed["pair_times_faster"])

"""How fast is the whole SegNet in PyTorch with our pair, and with PyTorch's own?"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gpu.libraries import open_kernels
from gpu.place import Call, Place
from gpu.record import Record
from gpu.torch_pair import build_network, channels_last, register
from segnet_deploy.bench.timing import Timing

SIZE, SMALL_SIZE = (360, 480), (45, 61)
FLOPS = 213e9  # of one frame of the full SegNet at 360x480, two per multiplication and addition
PAPER_SECONDS = 0.4225  # Table 6, a Titan GPU
PREPARATION = 20.0  # s per batch, after which no further variant is prepared
FASTER = 1.0  # our pair in a graph against PyTorch's pair in a graph, the same types and formats
BF16_GOAL = "bf16 NHWC: logits equal PyTorch's, bit for bit"
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Variant:
    """One way to run the network."""

    ours: bool
    kind: str
    last: bool
    graph: bool
    tf32: bool = False

    def __str__(self) -> str:
        kind = "tf32" if self.tf32 else self.kind
        how = "graph" if self.graph else "eager"
        return f"{'ours' if self.ours else 'torch'} {how} {kind} {'NHWC' if self.last else 'NCHW'}"


VARIANTS = (
    Variant(True, "fp16", True, True),
    Variant(False, "fp16", True, True),
    Variant(True, "bf16", True, True),
    Variant(False, "bf16", True, True),
    Variant(True, "fp16", False, True),
    Variant(False, "fp16", True, False),
    Variant(False, "fp16", False, False),
    Variant(True, "fp32", True, True, tf32=True),
    Variant(False, "fp32", True, True, tf32=True),
    Variant(False, "fp32", False, False, tf32=True),
    Variant(True, "fp32", False, True),
    Variant(False, "fp32", False, False),
)


def run(place: Place, record: Record) -> None:
    """Check that our pair changes nothing, then time every variant at batch 1 and 8."""
    kernels = open_kernels(place)
    register(kernels)
    record.fact("libraries", [kernels.origin])
    record.fact("weights", "random, seed 0, drawn here; batch normalisation folded in every row")
    with torch.inference_mode():
        for kind, last in (("fp32", False), ("fp32", True), ("fp16", True)):
            what = f"{kind} {'NHWC' if last else 'NCHW'}: logits equal PyTorch's, bit for bit"
            record.must(what, same_logits(place, kind, last))
        try:
            record.must(BF16_GOAL, same_logits(place, "bf16", True))
        except NotImplementedError as error:  # some releases have no unpooling of bf16 on CUDA
            record.row("network", variant="torch bf16", error=str(error)[:300])
        _roofline(place, record)
        for batch, rounds in ((1, 100), (8, 20)):
            _time_batch(place, record, batch, place.sized(rounds, 2))


def _time_batch(place: Place, record: Record, batch: int, rounds: int) -> None:
    calls: dict[str, Call] = {}
    memory: dict[str, int] = {}
    torch.backends.cudnn.benchmark = True
    started = time.monotonic()
    for variant in VARIANTS:
        if time.monotonic() - started > PREPARATION:
            record.row("network", variant=str(variant), batch=batch, error="no time was left")
            continue
        try:
            calls[str(variant)], memory[str(variant)] = prepare(place, variant, batch)
        except RuntimeError as error:  # out of memory, or a graph that cannot be captured
            record.row("network", variant=str(variant), batch=batch, error=str(error)[:300])
    record_times(place, record, "network", batch, calls, rounds, memory)
    ours, torchs = (Variant(ours, "fp16", True, True) for ours in (True, False))
    rows = {row["variant"]: row for row in record.tables["network"] if row["batch"] == batch}
    figures = [rows.get(str(v), {}).get("gpu_seconds", {}).get("median") for v in (ours, torchs)]
    ratio = figures[1] / figures[0] if all(figures) else None
    name = f"batch {batch}: ours in a graph, times faster than torch's, fp16"
    record.speed_goal(name, ratio, FASTER)


def record_times(
    place: Place,
    record: Record,
    table: str,
    batch: int,
    calls: Mapping[str, Call],
    rounds: int,
    memory: Mapping[str, int] | None = None,
) -> None:
    """Time calls in the same rounds, on the GPU and end to end; add a row for each."""
    gpu = place.interleaved(calls, rounds)
    wall = {name: Timing(_wall(place, call, rounds)) for name, call in calls.items()}
    for name in calls:
        record.row(
            table,
            variant=name,
            batch=batch,
            gpu_seconds=_summary(gpu[name]),
            wall_seconds=_summary(wall[name]),
            memory_bytes=(memory or {}).get(name),
            share_of_paper=gpu[name].median / batch / PAPER_SECONDS,
            flops_per_second=FLOPS * batch / gpu[name].median,
        )
    record.save()


def prepare(place: Place, variant: Variant, batch: int) -> tuple[Call, int]:
    """Return a call of the network on its own input, and the peak of its memory in bytes."""
    place.reset_peak()
    before = place.memory()
    network = build_network(place, variant.ours, DTYPES[variant.kind])
    x = torch.randn(batch, 3, *place.sized(SIZE, SMALL_SIZE), device=place.device)
    x = x.to(DTYPES[variant.kind])
    if variant.last:
        network = channels_last(network)
        x = x.contiguous(memory_format=torch.channels_last)
    with tf32(variant.tf32):
        eager = _eager(network, x, variant.tf32)
        call: Call = Replay(place, network, x) if variant.graph else eager
        call()
    place.synchronize()
    return call, place.peak_memory() - before


class Replay:
    """A network captured in a CUDA graph; a call replays it on `x` and sets `output`.

    It keeps everything that the graph reads. In a dry run a call runs the network.
    """

    def __init__(self, place: Place, network: Callable[[Tensor], Tensor], x: Tensor):
        self.network, self.x = network, x
        self._graph: torch.cuda.CUDAGraph | None = None
        if place.dry:
            self.output = network(x)
            return
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                network(x)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self.output = network(x)

    def __call__(self) -> None:
        if self._graph is None:
            self.output.copy_(self.network(self.x))
        else:
            self._graph.replay()


def _eager(network: nn.Module, x: Tensor, allowed: bool) -> Call:
    def call() -> Tensor:
        with tf32(allowed):
            return network(x)  # type: ignore[no-any-return]  # a Tensor

    return call


@contextlib.contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Let convolutions of fp32 use TF32, or not."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def same_logits(place: Place, kind: str, last: bool) -> bool:
    """Compare our network with PyTorch's, with the same deterministic convolutions."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    cudnn.benchmark, cudnn.deterministic = False, True
    results = []
    try:
        for ours in (True, False):
            network = build_network(place, ours, DTYPES[kind])
            generator = torch.Generator().manual_seed(1)
            x = torch.randn(2, 3, *place.sized(SIZE, SMALL_SIZE), generator=generator)
            x = x.to(place.device, DTYPES[kind])
            if last:
                network = channels_last(network)
                x = x.contiguous(memory_format=torch.channels_last)
            with tf32(False):
                results.append(network(x).contiguous())
    finally:
        cudnn.benchmark, cudnn.deterministic = before
    return torch.equal(*results) and bool(results[0].isfinite().all())


def _roofline(place: Place, record: Record) -> None:
    """Measure the device's matrix product and copy, from which the shortest time follows."""
    size = place.sized(8192, 64)
    for kind, dtype in DTYPES.items():
        for allowed in (False, True) if kind == "fp32" else (False,):
            a, b = (torch.randn(size, size, device=place.device).to(dtype) for _ in range(2))
            torch.backends.cuda.matmul.allow_tf32 = allowed
            timing = place.interleaved({"product": partial(torch.matmul, a, b)}, 5)["product"]
            rate = 2 * size**3 / timing.median
            name = "tf32" if allowed else kind
            record.row("roofline", type=name, flops_per_second=rate, frame_seconds=FLOPS / rate)
    torch.backends.cuda.matmul.allow_tf32 = False
    record.fact("paper_seconds", PAPER_SECONDS)


def _wall(place: Place, call: Call, rounds: int) -> tuple[float, ...]:
    samples = []
    for _ in range(rounds):
        before = time.perf_counter()
        call()
        place.synchronize()
        samples.append(time.perf_counter() - before)
    return tuple(samples)


def _summary(timing: Timing) -> dict[str, Any]:
    return {"median": timing.median, "p99": timing.percentile(99), "runs": len(timing.samples)}

"""Where a part runs: on the GPU, or, in a dry run, on the CPU with small shapes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from segnet_deploy.bench.timing import Timing, interleaved

FLUSH_BYTES = 512 << 20  # more than any L2
SLEEP_CYCLES = 1_000_000  # about 0.5 ms, in which the calls to be timed are enqueued
ROOT = Path(__file__).parents[2]

T = TypeVar("T")
Call = Callable[[], Any]


class Place:
    """The device of a part, its clock, and the folders of the libraries.

    `prebuilt` has libraries that were built elsewhere (gpu/prepare.py), `folder` those that are
    built here; `extra` is a folder of packages and files for the optional parts, or None.
    """

    def __init__(self, dry: bool, folder: Path, prebuilt: Path, extra: Path | None = None):
        self.dry, self.folder, self.prebuilt, self.extra = dry, folder, prebuilt, extra
        self.device = "cpu" if dry else "cuda"

    def sized(self, full: T, small: T) -> T:
        """Return the value for the GPU, or the small one of a dry run."""
        return small if self.dry else full

    @property
    def stream(self) -> int:
        """The cudaStream_t that PyTorch uses in this thread."""
        return 0 if self.dry else int(torch.cuda.current_stream().cuda_stream)

    def synchronize(self) -> None:
        """Wait for all work on the device. Raises what a failed kernel raises."""
        if not self.dry:
            torch.cuda.synchronize()

    def flush(self) -> None:
        """Fill the L2 cache with other data."""
        self._flushed.zero_()

    def seconds(self, call: Call, *, flush: bool = False, times: int = 1) -> float:
        """Return the seconds of one of `times` calls in a row, by CUDA events.

        The stream sleeps while the calls are enqueued, so that their launches do not count.
        """
        if flush:
            self.flush()
        if self.dry:
            before = time.perf_counter()
            for _ in range(times):
                call()
            return (time.perf_counter() - before) / times
        start, end = self._events
        torch.cuda._sleep(SLEEP_CYCLES)  # type: ignore[no-untyped-call]
        start.record()
        for _ in range(times):
            call()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3 / times

    def interleaved(
        self,
        calls: Mapping[str, Call],
        rounds: int,
        *,
        flush: bool = False,
        times: int = 1,
        warm_ups: int = 2,
    ) -> dict[str, Timing]:
        """Time each call once per round; see `seconds`."""
        measure = partial(self.seconds, flush=flush, times=times)
        return interleaved(calls, rounds, warm_ups=warm_ups, measure=measure)

    def memory(self) -> int:
        """Return the bytes that PyTorch has allocated on the device."""
        return 0 if self.dry else int(torch.cuda.memory_allocated())

    def peak_memory(self) -> int:
        """Return the most bytes since `reset_peak`."""
        return 0 if self.dry else int(torch.cuda.max_memory_allocated())

    def reset_peak(self) -> None:
        """Measure the peak from now on, and free what PyTorch only keeps for later."""
        if not self.dry:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    @cached_property
    def _flushed(self) -> Tensor:
        return torch.empty(self.sized(FLUSH_BYTES, 1 << 16), dtype=torch.uint8, device=self.device)

    @cached_property
    def _events(self) -> tuple[torch.cuda.Event, torch.cuda.Event]:
        first = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        return first, torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]

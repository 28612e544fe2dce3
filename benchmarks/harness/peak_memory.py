"""Peak resident memory of one way to run SegNet, in a child process that does nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.engines import open_engine
from segnet_deploy.scenes import draw_scene
from segnet_deploy.segmenter import Segmenter
from segnet_deploy.system.child_process import serve
from segnet_deploy.system.memory import peak_rss_bytes
from segnet_deploy.types import DEFAULT_SIZE

FRAMES = 3


def peak_of_file(path: str, runtime: str, threads: int, operators: bool) -> int | None:
    """Segment some frames with an ONNX file, without torch; return the peak in bytes."""
    return _peak(Segmenter(open_engine(Path(path), runtime, threads, operators)))


def peak_of_eager(checkpoint: str | None, threads: int, size: list[int]) -> int | None:
    """Segment some frames with PyTorch eager; return the peak in bytes."""
    import torch

    from harness.networks import EAGER, TorchEngine, load_network

    torch.set_num_threads(threads)
    return _peak(Segmenter(TorchEngine(EAGER, load_network(checkpoint), (size[0], size[1]))))


def _peak(segmenter: Segmenter) -> int | None:
    height, width = segmenter.size
    frame = draw_scene(0, height or DEFAULT_SIZE[0], width or DEFAULT_SIZE[1]).frame
    for _ in range(FRAMES):
        segmenter.segment(frame)
    return peak_rss_bytes()


if __name__ == "__main__":
    sys.exit(serve({"file": peak_of_file, "eager": peak_of_eager}))

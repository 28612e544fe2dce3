"""A segmentation engine on the GPU without TensorRT: PyTorch with our pair, from a CUDA graph."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from gpu.network import Replay
from gpu.place import Place
from gpu.torch_pair import build_network, channels_last
from segnet_deploy.runtimes.base import Port
from segnet_deploy.runtimes.function_engine import FunctionEngine
from segnet_deploy.types import Array, Size

MEAN, STD = (104.0, 117.0, 123.0), 58.0
CLASSES = 11


class FrameSegNet(nn.Module):
    """(1, H, W, 3) uint8 frames in, (1, H, W) uint8 labels out, in fp16 with channels last."""

    def __init__(self, place: Place):
        super().__init__()
        dtype = place.sized(torch.float16, torch.float32)
        network = build_network(place, True, dtype, CLASSES)
        self.network = channels_last(network)
        self.mean = torch.tensor(MEAN, device=place.device).reshape(1, 3, 1, 1)
        self.dtype = dtype

    def forward(self, frames: Tensor) -> Tensor:
        x = (frames.permute(0, 3, 1, 2).float() - self.mean) / STD
        x = x.to(self.dtype).contiguous(memory_format=torch.channels_last)
        labels: Tensor = self.network(x).argmax(1).to(torch.uint8)
        return labels


class CudaEngine(FunctionEngine):
    """FrameSegNet with pinned buffers: copies a frame in, replays a graph, copies labels out."""

    def __init__(self, place: Place, size: Size):
        self._pinned = [
            torch.zeros(shape, dtype=torch.uint8, pin_memory=not place.dry)
            for shape in ((1, *size, 3), (1, *size))
        ]
        with torch.inference_mode():
            self._input = torch.zeros((1, *size, 3), dtype=torch.uint8, device=place.device)
            network = FrameSegNet(place)
            self._replay = Replay(place, network, self._input)
        self._place = place
        frames = Port("frames", (1, *size, 3), np.dtype(np.uint8))
        labels = Port("labels", (1, *size), np.dtype(np.uint8))
        super().__init__(self._segment, [frames], [labels], name="torch", computes_half=True)
        self.device = "cpu" if place.dry else "cuda"

    def _segment(self, frames: Array) -> Array:
        source, target = self._pinned
        source.numpy()[...] = frames
        with torch.inference_mode():
            self._input.copy_(source, non_blocking=True)
            self._replay()
            target.copy_(self._replay.output, non_blocking=True)
        self._place.synchronize()
        labels: Array = target.numpy()
        return labels

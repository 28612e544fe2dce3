"""The pool/unpool pair as operators of PyTorch, and a SegNet that uses them."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

from gpu.libraries import Kernels
from gpu.place import Place
from gpu.window_rule import TYPES, pooled_size
from segnet_export.models import SegNet, SegNetConfig

_KINDS = {dtype: kind for kind, dtype in TYPES.items()}


@functools.cache
def register(kernels: Kernels) -> None:
    """Define segnet::max_pool and segnet::max_unpool for tensors of the kernels' device.

    They keep the memory format: NCHW, or channels last. `codes` is int32, (N, ceil(C/16), Ho, Wo).
    """

    @torch.library.custom_op(
        "segnet::max_pool",
        mutates_args=(),
        schema="(Tensor x, bool ceil_mode) -> (Tensor, Tensor)",
    )
    def max_pool(x: Tensor, ceil_mode: bool) -> tuple[Tensor, Tensor]:
        y, codes = _pool_outputs(x, ceil_mode)
        pair = kernels.pair(_KINDS[x.dtype], _layout(x), _sizes(x), ceil_mode)
        pair.pool(x.data_ptr(), y.data_ptr(), codes.data_ptr(), _stream(x))
        return y, codes

    @torch.library.custom_op(
        "segnet::max_unpool",
        mutates_args=(),
        schema="(Tensor y, Tensor codes, SymInt h, SymInt w, bool ceil_mode) -> Tensor",
    )
    def max_unpool(y: Tensor, codes: Tensor, h: int, w: int, ceil_mode: bool) -> Tensor:
        x = _unpool_output(y, h, w)
        pair = kernels.pair(_KINDS[y.dtype], _layout(y), _sizes(x), ceil_mode)
        pair.unpool(y.data_ptr(), codes.data_ptr(), x.data_ptr(), _stream(y))
        return x

    max_pool.register_fake(_pool_outputs)

    @max_unpool.register_fake
    def _(y: Tensor, codes: Tensor, h: int, w: int, ceil_mode: bool) -> Tensor:
        return _unpool_output(y, h, w)


def _pool_outputs(x: Tensor, ceil_mode: bool) -> tuple[Tensor, Tensor]:
    n, c, h, w = x.shape
    rows, columns = pooled_size(h, w, ceil_mode)
    y = torch.empty(
        (n, c, rows, columns), dtype=x.dtype, device=x.device, memory_format=_memory_format(x)
    )
    return y, x.new_empty((n, (c + 15) // 16, rows, columns), dtype=torch.int32)


def _unpool_output(y: Tensor, h: int, w: int) -> Tensor:
    return torch.empty(
        (y.shape[0], y.shape[1], h, w),
        dtype=y.dtype,
        device=y.device,
        memory_format=_memory_format(y),
    )


def _memory_format(x: Tensor) -> torch.memory_format:
    return torch.contiguous_format if x.is_contiguous() else torch.channels_last


def _layout(x: Tensor) -> str:
    """Return the kernels' layout of a tensor. Raises ValueError if it is in neither format."""
    if x.is_contiguous():
        return "NCHW"
    if not x.is_contiguous(memory_format=torch.channels_last):
        raise ValueError(
            f"strides {x.stride()} of {tuple(x.shape)}; expected NCHW or channels last"
        )
    return "NHWC"


def _sizes(x: Tensor) -> tuple[int, int, int, int]:
    n, c, h, w = map(int, x.shape)
    return n, c, h, w


def _stream(x: Tensor) -> int:
    return int(torch.cuda.current_stream(x.device).cuda_stream) if x.is_cuda else 0


class PairSegNet(SegNet):
    """A SegNet with segnet::max_pool and segnet::max_unpool; call `register` first."""

    def forward(self, x: Tensor) -> Tensor:
        units: Any = iter(self.units)
        pooled: list[tuple[Tensor, int, int]] = []
        for stage in self.config.encoder:
            for _ in stage:
                x = next(units)(x)
            h, w = x.shape[2:]
            x, codes = torch.ops.segnet.max_pool(x, self.config.ceil_mode)
            pooled.append((codes, h, w))
        for stage in self.config.decoder:
            codes, h, w = pooled.pop()
            x = torch.ops.segnet.max_unpool(x, codes, h, w, self.config.ceil_mode)
            for _ in stage:
                x = next(units)(x)
        return self.classifier(x)  # type: ignore[no-any-return]  # a Tensor


def build_network(place: Place, pair: bool, dtype: torch.dtype, classes: int = 11) -> SegNet:
    """Return the SegNet of `draw_network` on the device; with `pair` it uses our operators."""
    made = PairSegNet if pair else SegNet
    return draw_network(made, place.sized(64, 4), classes).to(place.device, dtype)


def draw_network(made: type[SegNet], width: int = 64, classes: int = 11) -> SegNet:
    """Return a SegNet with weights of seed 0 and batch normalisation in the convolutions.

    The weights keep the values' size from layer to layer.
    """
    torch.manual_seed(0)
    network = made(SegNetConfig.standard(classes, width=width)).eval()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    for unit in network.units:
        layer: Any = unit
        layer.conv, layer.bn = nn.utils.fuse_conv_bn_eval(layer.conv, layer.bn), nn.Identity()
    return network.requires_grad_(False)


def channels_last(network: Any) -> Any:
    """Return a module with its weights in channels last."""
    return network.to(memory_format=torch.channels_last)

"""A plain numpy interpreter of prototxts: Caffe's layers as its sources compute them.

It shares no code with the package: the net is parsed by Google's protobuf library, and each layer
is written down from Caffe's sources, window by window. With `integer` weights and images all sums
are exact, so that results can be compared bit by bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import caffe_schema
import numpy as np

Array = Any
_OLD = {"Bn": "BN", "Lrn": "LRN", "Relu": "ReLU", "Argmax": "ArgMax"}


def run(
    text: str,
    weights: Mapping[str, Sequence[Array]],
    image: Array,
    masks: Sequence[Array] | None = None,
) -> dict[str, Array]:
    """Return every blob at the end, for `image`, (N, C, H, W); in-place layers overwrite.

    `masks` replaces the masks of the pools, in order: values come from these positions.
    """
    blobs: dict[str, Array] = {}
    given = iter(masks or ())
    for layer in _layers(text):
        kind, bottoms = _kind(layer), [blobs.get(name) for name in layer.bottom]
        if not layer.bottom or kind == "Input":
            blobs[layer.top[0]] = image
        elif not kind.endswith(("Loss", "Accuracy", "Write")):
            results = _FUNCTIONS[kind](layer, bottoms, weights.get(layer.name, ()))
            if len(layer.top) == 2 and kind == "Pooling" and masks is not None:
                results = _pool_at(bottoms[0], next(given))
            blobs.update(zip(layer.top, results, strict=False))
    return blobs


def shapes(text: str, image: tuple[int, ...]) -> dict[str, list[tuple[int, ...]]]:
    """Return the shapes of each layer's weights, found by running a net of zeros."""
    found: dict[str, list[tuple[int, ...]]] = {}
    channels: dict[str, int] = {}
    for layer in _layers(text):
        kind = _kind(layer)
        if not layer.bottom or kind == "Input":
            channels[layer.top[0]] = image[1]
            continue
        count = channels.get(layer.bottom[0], 0)
        if kind in ("Convolution", "Deconvolution"):
            p = layer.convolution_param
            pair = (p.num_output, count // (p.group or 1))
            if kind == "Deconvolution":
                pair = (count, p.num_output // (p.group or 1))
            found[layer.name] = [(*pair, *_two(p, "kernel", 1))]
            if not p.HasField("bias_term") or p.bias_term:
                found[layer.name].append((p.num_output,))
            count = p.num_output
        elif kind == "BN":
            found[layer.name] = [(1, count, 1, 1)] * 2
        elif kind == "BatchNorm":
            found[layer.name] = [(count,), (count,), (1,)]
        elif kind == "Scale":
            found[layer.name] = [(count,)] * (1 + layer.scale_param.bias_term)
        elif kind == "Concat":
            count = sum(channels[name] for name in layer.bottom)
        channels.update(dict.fromkeys(layer.top, count))
    return found


def _layers(text: str) -> list[Any]:
    net = caffe_schema.parse(text)
    layers = list(net.layer) + list(net.layers)
    if net.input:
        data = caffe_schema.NetMessage().layer.add(type="Input", top=[net.input[0]])
        layers.insert(0, data)
    return [
        layer
        for layer in layers
        if all(rule.phase != "TRAIN" for rule in layer.include)
        and all(rule.phase != "TEST" for rule in layer.exclude)
    ]


def _kind(layer: Any) -> str:
    kind: str = layer.type
    if not kind.isupper() or kind in ("BN", "LRN"):
        return kind
    kind = "".join(word.capitalize() for word in kind.split("_"))
    return _OLD.get(kind, kind)


def _two(settings: Any, name: str, default: int) -> tuple[int, int]:
    field = "kernel_size" if name == "kernel" else name
    value = getattr(settings, field, None)
    values = list(value) if value is not None and not isinstance(value, int) else [value or default]
    both = (values * 2)[:2] if values else [default, default]
    for axis in (0, 1):
        key = f"{name}_{'hw'[axis]}"
        if hasattr(settings, key) and settings.HasField(key):
            both[axis] = getattr(settings, key)
    return both[0], both[1]


def _convolution(layer: Any, bottoms: list[Array], blobs: Sequence[Array]) -> list[Array]:
    p, x = layer.convolution_param, bottoms[0]
    (sy, sx), (py, px) = _two(p, "stride", 1), _two(p, "pad", 0)
    dy, dx = _two(p, "dilation" if p.dilation else "hole", 1)
    group, weight = p.group or 1, blobs[0]
    kh, kw = weight.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (py, py), (px, px)))
    height = (padded.shape[2] - dy * (kh - 1) - 1) // sy + 1
    width = (padded.shape[3] - dx * (kw - 1) - 1) // sx + 1
    out = np.zeros((len(x), weight.shape[0], height, width), x.dtype)
    inputs, outputs = x.shape[1] // group, weight.shape[0] // group
    for g in range(group):
        source = padded[:, g * inputs : (g + 1) * inputs]
        rows = slice(g * outputs, (g + 1) * outputs)
        for i in range(kh):
            for j in range(kw):
                y0, x0 = i * dy, j * dx
                cut = source[:, :, y0 : y0 + sy * height : sy, x0 : x0 + sx * width : sx]
                flat = cut[:, :, :height, :width].reshape(len(x), inputs, -1)
                product = weight[rows, :, i, j].astype(x.dtype) @ flat
                out[:, rows] += product.reshape(len(x), outputs, height, width)
    if len(blobs) > 1:
        out += blobs[1].reshape(1, -1, 1, 1).astype(x.dtype)
    return [out]


def _deconvolution(layer: Any, bottoms: list[Array], blobs: Sequence[Array]) -> list[Array]:
    p, x = layer.convolution_param, bottoms[0]
    (sy, sx), (py, px) = _two(p, "stride", 1), _two(p, "pad", 0)
    group, weight = p.group or 1, blobs[0]
    kh, kw = weight.shape[2:]
    n, channels, h, w = x.shape
    outputs = weight.shape[1]
    full = np.zeros((n, outputs * group, sy * (h - 1) + kh, sx * (w - 1) + kw), x.dtype)
    inputs = channels // group
    for g in range(group):
        flat = x[:, g * inputs : (g + 1) * inputs].reshape(n, inputs, -1)
        for i in range(kh):
            for j in range(kw):
                part = weight[g * inputs : (g + 1) * inputs, :, i, j].T.astype(x.dtype) @ flat
                target = full[:, g * outputs : (g + 1) * outputs, i::sy, j::sx]
                target[:, :, :h, :w] += part.reshape(n, outputs, h, w)
    out = full[:, :, py : full.shape[2] - py, px : full.shape[3] - px].copy()
    if len(blobs) > 1:
        out += blobs[1].reshape(1, -1, 1, 1).astype(x.dtype)
    return [out]


def _pooling(layer: Any, bottoms: list[Array], _: Sequence[Array]) -> list[Array]:
    p, x = layer.pooling_param, bottoms[0]
    n, c, h, w = x.shape
    kernel = (h, w) if p.global_pooling else _two(p, "kernel", 1)
    stride, pad = _two(p, "stride", 1), (p.pad, p.pad)
    counts = []
    for size, k, s, q in zip((h, w), kernel, stride, pad, strict=True):
        count = math.ceil((size + 2 * q - k) / s) + 1
        if q and (count - 1) * s >= size + q:
            count -= 1
        counts.append(count)
    top = np.zeros((n, c, *counts), x.dtype)
    mask = np.zeros((n, c, *counts), np.int64)
    for i in range(counts[0]):
        y0 = i * stride[0] - pad[0]
        y1 = min(y0 + kernel[0], h + pad[0])
        for j in range(counts[1]):
            x0 = j * stride[1] - pad[1]
            x1 = min(x0 + kernel[1], w + pad[1])
            area = (y1 - y0) * (x1 - x0)
            ya, yb, xa, xb = max(y0, 0), min(y1, h), max(x0, 0), min(x1, w)
            window = x[:, :, ya:yb, xa:xb].reshape(n, c, -1)
            if p.pool == "AVE":
                top[:, :, i, j] = window.sum(2) / area
                continue
            first = window.argmax(2)  # the first of equal values
            top[:, :, i, j] = window.max(2)
            mask[:, :, i, j] = (ya + first // (xb - xa)) * w + xa + first % (xb - xa)
    return [top, mask]


def _fast_pooling(layer: Any, bottoms: list[Array], blobs: Sequence[Array]) -> list[Array]:
    """The same for 2x2 windows with stride 2, over whole planes: large images take seconds."""
    p, x = layer.pooling_param, bottoms[0]
    if p.pool == "AVE" or _two(p, "kernel", 1) != (2, 2) or _two(p, "stride", 1) != (2, 2) or p.pad:
        return _pooling(layer, bottoms, blobs)
    h, w = x.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (0, h % 2), (0, w % 2)), constant_values=-np.inf)
    parts = np.stack([padded[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)])
    first = parts.argmax(0)
    rows = 2 * np.arange(parts.shape[3])[:, None] + first // 2
    columns = 2 * np.arange(parts.shape[4]) + first % 2
    return [parts.max(0), rows * w + columns]


def _pool_at(x: Array, mask: Array) -> list[Array]:
    flat = np.take_along_axis(x.reshape(*x.shape[:2], -1), mask.reshape(*mask.shape[:2], -1), 2)
    return [flat.reshape(mask.shape), mask]


def _unpool(layer: Any, bottoms: list[Array], _: Sequence[Array]) -> list[Array]:
    values, mask = bottoms
    n, c, h, w = values.shape
    if layer.HasField("unpooling_param"):
        height = width = layer.unpooling_param.unpool_size
    elif layer.upsample_param.upsample_h:
        height, width = layer.upsample_param.upsample_h, layer.upsample_param.upsample_w
    else:
        p = layer.upsample_param
        scale = p.scale or 2
        height, width = h * scale - int(p.pad_out_h), w * scale - int(p.pad_out_w)
    planes = np.zeros((n, c, height * width), values.dtype)
    np.put_along_axis(planes, mask.reshape(n, c, -1), values.reshape(n, c, -1), 2)
    return [planes.reshape(n, c, height, width)]


def _bn(layer: Any, bottoms: list[Array], blobs: Sequence[Array]) -> list[Array]:
    x = bottoms[0]
    scale, shift = (blob.reshape(1, -1, 1, 1).astype(x.dtype) for blob in blobs)
    if layer.bn_param.bn_mode == "INFERENCE":
        return [x * scale + shift]
    mean = x.mean((0, 2, 3), keepdims=True)
    variance = (x * x).mean((0, 2, 3), keepdims=True) - mean**2
    return [(x - mean) / np.sqrt(variance + 1e-9) * scale + shift, mean, variance]


def _batch_norm(layer: Any, bottoms: list[Array], blobs: Sequence[Array]) -> list[Array]:
    p = layer.batch_norm_param
    mean, variance = (blob.reshape(1, -1, 1, 1) / blobs[2][0] for blob in blobs[:2])
    eps = p.eps if p.HasField("eps") else 1e-5
    return [(bottoms[0] - mean) / np.sqrt(variance + eps)]


def _scale(layer: Any, bottoms: list[Array], blobs: Sequence[Array]) -> list[Array]:
    columns = [blob.reshape(1, -1, 1, 1) for blob in blobs]
    return [bottoms[0] * columns[0] + (columns[1] if layer.scale_param.bias_term else 0)]


def _lrn(layer: Any, bottoms: list[Array], _: Sequence[Array]) -> list[Array]:
    p, x = layer.lrn_param, bottoms[0]
    size, alpha = p.local_size or 5, p.alpha if p.HasField("alpha") else 1.0
    beta = p.beta if p.HasField("beta") else 0.75
    half = size // 2
    if p.norm_region == "WITHIN_CHANNEL":
        padded = np.pad(x * x, ((0, 0), (0, 0), (half, half), (half, half)))
        height, width = x.shape[2:]
        total = sum(
            padded[:, :, i : i + height, j : j + width] for i in range(size) for j in range(size)
        )
        return [x * (1 + alpha * total / size**2) ** -beta]
    padded = np.pad(x * x, ((0, 0), (half, half), (0, 0), (0, 0)))
    total = sum(padded[:, i : i + x.shape[1]] for i in range(size))
    return [x * ((p.k if p.HasField("k") else 1.0) + alpha / size * total) ** -beta]


def _eltwise(layer: Any, bottoms: list[Array], _: Sequence[Array]) -> list[Array]:
    p = layer.eltwise_param
    if p.operation == "PROD":
        return [math.prod(bottoms)]
    if p.operation == "MAX":
        return [np.maximum.reduce(bottoms)]
    factors = list(p.coeff) or [1] * len(bottoms)
    return [sum(f * x for f, x in zip(factors, bottoms, strict=True))]


def _crop(layer: Any, bottoms: list[Array], _: Sequence[Array]) -> list[Array]:
    p, (x, reference) = layer.crop_param, bottoms
    axis = p.axis if p.HasField("axis") else 2
    offsets = list(p.offset) or [0]
    cuts = [slice(None)] * x.ndim
    for number, a in enumerate(range(axis, x.ndim)):
        start = offsets[number if len(offsets) > 1 else 0]
        cuts[a] = slice(start, start + reference.shape[a])
    return [x[tuple(cuts)]]


def _softmax(_: Any, bottoms: list[Array], __: Sequence[Array]) -> list[Array]:
    e = np.exp(bottoms[0] - bottoms[0].max(1, keepdims=True))
    return [e / e.sum(1, keepdims=True)]


def _argmax(_: Any, bottoms: list[Array], __: Sequence[Array]) -> list[Array]:
    x = bottoms[0][:, ::-1]  # Caffe takes the last of equal values
    return [(x.shape[1] - 1 - x.argmax(1, keepdims=True)).astype(np.float32)]


def _inner_product(layer: Any, bottoms: list[Array], blobs: Sequence[Array]) -> list[Array]:
    weight = blobs[0].reshape(layer.inner_product_param.num_output, -1)
    y = bottoms[0].reshape(len(bottoms[0]), -1) @ weight.T
    return [y + blobs[1] if len(blobs) > 1 else y]


def _reshape(layer: Any, bottoms: list[Array], _: Sequence[Array]) -> list[Array]:
    dims = [
        bottoms[0].shape[i] if d == 0 else d for i, d in enumerate(layer.reshape_param.shape.dim)
    ]
    return [bottoms[0].reshape(dims)]


def _interp(layer: Any, bottoms: list[Array], _: Sequence[Array]) -> list[Array]:
    x, zoom = bottoms[0], layer.interp_param.zoom_factor
    for axis in (2, 3):
        size = x.shape[axis]
        at = np.arange((size - 1) * zoom + 1) / zoom
        low = np.minimum(at.astype(int), max(size - 2, 0))
        shape = [1, 1, 1, 1]
        shape[axis] = len(at)
        share = (at - low).reshape(shape).astype(x.dtype)
        x = x.take(low, axis) * (1 - share) + x.take(np.minimum(low + 1, size - 1), axis) * share
    return [x]


def _relu(layer: Any, bottoms: list[Array], _: Sequence[Array]) -> list[Array]:
    x = bottoms[0]
    return [np.where(x > 0, x, x * np.asarray(layer.relu_param.negative_slope, x.dtype))]


def _same(layer: Any, bottoms: list[Array], _: Sequence[Array]) -> list[Array]:
    return [bottoms[0]] * len(layer.top)


def _power(layer: Any, bottoms: list[Array], _: Sequence[Array]) -> list[Array]:
    p = layer.power_param
    scale, power = (getattr(p, name) if p.HasField(name) else 1.0 for name in ("scale", "power"))
    return [(p.shift + scale * bottoms[0]) ** power]


def _prelu(_: Any, bottoms: list[Array], blobs: Sequence[Array]) -> list[Array]:
    x = bottoms[0]
    return [np.maximum(x, 0) + blobs[0].reshape(1, -1, 1, 1) * np.minimum(x, 0)]


_FUNCTIONS: dict[str, Any] = {
    "ArgMax": _argmax,
    "BN": _bn,
    "BatchNorm": _batch_norm,
    "Concat": lambda _, bottoms, __: [np.concatenate(bottoms, 1)],
    "Convolution": _convolution,
    "Crop": _crop,
    "Deconvolution": _deconvolution,
    "Dropout": _same,
    "Eltwise": _eltwise,
    "InnerProduct": _inner_product,
    "Interp": _interp,
    "LRN": _lrn,
    "PReLU": _prelu,
    "Pooling": _fast_pooling,
    "Power": _power,
    "ReLU": _relu,
    "Reshape": _reshape,
    "Scale": _scale,
    "Sigmoid": lambda _, bottoms, __: [1 / (1 + np.exp(-bottoms[0]))],
    "Softmax": _softmax,
    "Split": _same,
    "TanH": lambda _, bottoms, __: [np.tanh(bottoms[0])],
    "Unpooling": _unpool,
    "Upsample": _unpool,
}

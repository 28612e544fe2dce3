"""The random cases of sanitize.py: valid ones equal numpy, invalid ones return an error.

Every buffer is a block of malloc of exactly its size, so that AddressSanitizer sees any access
beyond it. Run by sanitize.py in a child process that has the sanitizers loaded.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cases
import malformed_operators
import ml_dtypes
import numpy as np
from malformed_operators import POOL, UNPOOL, Use

from segnet_deploy.native import max_unpool

CPU_TYPES = (np.float32, np.int8, np.uint8)  # CpuElement
HOST_TYPES = (np.float32, np.float16, ml_dtypes.bfloat16, np.int8)  # DataKind
PACKS = (1, 4, 8, 16)
SIDES = (0, 1, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 31, 64)
CHANNELS = (0, 1, 2, 3, 5, 8, 15, 16, 17, 32, 33, 40)
HUGE = (2**31, 2**40, 2**62, 2**63 - 1)
MOST = 30_000  # elements of a case
POISON = 0x5A

_libc = ctypes.CDLL(None)
_libc.malloc.restype = ctypes.c_void_p
_libc.free.argtypes = [ctypes.c_void_p]


@dataclass
class Libraries:
    """The sanitised libraries in `folder`."""

    folder: Path

    def __post_init__(self) -> None:
        names = ("cpu", "reference", "two_bit_codes", "host_loop")
        self.cpu, self.reference, self.two_bit_codes, self.host_loop = (
            ctypes.CDLL(str(self.folder / f"{name}.so")) for name in names
        )
        self.onnxruntime = str(self.folder / "onnxruntime.so")


class Buffer:
    """A block of malloc, poisoned, and its start as an array; `skip` bytes come before that."""

    def __init__(self, shape: tuple[int, ...], dtype: Any, skip: int = 0):
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self.block = _libc.malloc(ctypes.c_size_t(size + skip))
        self.address = ctypes.c_void_p(self.block + skip)
        ctypes.memset(self.block, POISON, size + skip)
        memory = (ctypes.c_uint8 * size).from_address(self.block + skip)
        self.array = np.frombuffer(memory, np.uint8).view(dtype).reshape(shape)

    def __del__(self) -> None:
        _libc.free(self.block)


def filled(values: Any, skip: int = 0) -> Buffer:
    """Return a buffer with `values`."""
    made = Buffer(values.shape, values.dtype, skip)
    made.array[...] = values
    return made


def random_shape(rng: Any, channels: tuple[int, ...] = CHANNELS) -> tuple[int, int, int, int]:
    """Return (n, c, h, w) with at most MOST elements."""
    while True:
        n = int(rng.choice((0, 1, 1, 2, 3)))
        c, h, w = (int(rng.choice(sizes)) for sizes in (channels, SIDES, SIDES))
        if n * c * h * w <= MOST:
            return n, c, h, w


def random_values(rng: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """Return ties, random values, or values with NaN and infinity."""
    ties = rng.integers(-1, 2, shape).astype(np.float32)
    kind = rng.integers(4)
    if kind == 0:
        return (np.abs(ties) if dtype == np.uint8 else ties).astype(dtype)
    if dtype in (np.int8, np.uint8):
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)
    values = ties if kind == 1 else rng.standard_normal(shape).astype(np.float32)
    if kind > 1:
        values[rng.random(shape) < 0.2] = np.nan
        values[rng.random(shape) < 0.1] = rng.choice((np.inf, -np.inf))
    return values.astype(dtype)


def expected_pool(x: Any, ceil_mode: bool) -> tuple[Any, Any, Any]:
    """Return y, codes and plane indices of (N, C, H, W): the last NaN, or the first maximum."""
    n, c, h, w = x.shape
    shape = (n, c, *max_unpool.pooled_size((h, w), ceil_mode))
    if 0 in shape:
        return np.zeros(shape, x.dtype), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    position = 2 * (np.arange(h) % 2)[:, None] + np.arange(w) % 2
    values = x.astype(np.float32)
    rank = np.where(np.isnan(values), 2e30 * (1 + position), np.clip(values, -1e30, 1e30))
    _, index = cases.pool_reference(rank, ceil_mode)
    return cases.gather(x, index), cases.codes_from_index(index, w), index


def expected_unpool(y: Any, codes: Any, size: tuple[int, int]) -> Any:
    """Return planes of `size` (N, C, H, W) for any codes; those outside a plane write nothing."""
    x = np.zeros((*y.shape[:2], *size), y.dtype)
    for code in range(4):
        out = x[:, :, code // 2 :: 2, code % 2 :: 2][:, :, : y.shape[2], : y.shape[3]]
        rows, columns = out.shape[2:]
        hit = codes[:, :, :rows, :columns] == code
        out[hit] = y[:, :, :rows, :columns][hit]
    return x


def require_equal(what: str, found: Any, expected: Any) -> None:
    """Raise AssertionError unless the arrays are equal, bit by bit in fp32 and integers."""
    found, expected = np.ascontiguousarray(found), np.ascontiguousarray(expected)
    if found.dtype.itemsize == 2:  # conversions do not keep the bits of a NaN
        same = np.array_equal(found.astype(np.float32), expected.astype(np.float32), equal_nan=True)
    else:
        same = found.shape == expected.shape and found.tobytes() == expected.tobytes()
    assert same, f"{what} {found.shape} differs from numpy"


def require_status(status: int, expected: int) -> None:
    """Raise AssertionError unless the function returned `expected`."""
    assert status == expected, f"status {status}; expected {expected}"


def sizes_of(*sizes: int) -> tuple[Any, ...]:
    """Return int64 arguments."""
    return tuple(map(ctypes.c_int64, sizes))


def broken(rng: Any, sizes: list[int]) -> list[int]:
    """Return sizes of which one is negative or too large."""
    wrong = list(sizes)
    wrong[rng.integers(len(sizes))] = int(rng.choice((-1, -7, -(2**40), *HUGE)))
    return wrong


def reference(libraries: Libraries, rng: Any) -> None:
    """plugins/reference, in fp32."""
    shape, ceil_mode = random_shape(rng), bool(rng.integers(2))
    values = random_values(rng, shape, np.float32)
    y, codes, index = expected_pool(values, ceil_mode)
    words = cases.pack_codes(codes)
    x, out = filled(values), Buffer(y.shape, np.float32)
    code = Buffer(words.shape, np.int32)
    library = libraries.reference
    if rng.random() < 0.2:
        wrong = sizes_of(*broken(rng, list(shape)))
        given = (x.address, out.address, code.address, *wrong, int(ceil_mode))
        require_status(library.segnet_reference_pool(*given), 1)
        given = (out.address, code.address, x.address, *wrong, int(ceil_mode))
        require_status(library.segnet_reference_unpool(*given), 1)
        return
    sizes = (*sizes_of(*shape), int(ceil_mode))
    require_status(library.segnet_reference_pool(x.address, out.address, code.address, *sizes), 0)
    require_equal("y", out.array, y)
    require_equal("codes", code.array, words)
    back = Buffer(shape, np.float32)
    status = library.segnet_reference_unpool(out.address, code.address, back.address, *sizes)
    require_status(status, 0)
    if y.size:
        require_equal("x", back.array, cases.unpool_reference(y, index, shape[2:]))
    code.array[...] = words = rng.integers(-(2**31), 2**31, words.shape, np.int64).astype(np.int32)
    status = library.segnet_reference_unpool(out.address, code.address, back.address, *sizes)
    require_status(status, 0)
    any_codes = cases.unpack_codes(words, shape[1]) if words.size else codes
    require_equal("x of any codes", back.array, expected_unpool(y, any_codes, shape[2:]))


def two_bit_codes(libraries: Libraries, rng: Any) -> None:
    """The CPU kernels that the operators for ONNX Runtime call; those call none for no elements."""
    shape, ceil_mode, last = random_shape(rng), bool(rng.integers(2)), bool(rng.integers(2))
    element = int(rng.integers(3))
    values = random_values(rng, shape, CPU_TYPES[element])
    if not values.size:
        return
    y, codes, index = expected_pool(values, ceil_mode)
    words = cases.pack_codes(codes)
    order = (0, 2, 3, 1) if last else (0, 1, 2, 3)
    x, out = filled(values.transpose(order)), Buffer(y.transpose(order).shape, y.dtype)
    code, back = Buffer(words.shape, np.int32), Buffer(x.array.shape, x.array.dtype)
    operation = libraries.two_bit_codes.segnet_two_bit_codes
    rest = (*sizes_of(*shape), int(ceil_mode), ctypes.c_int64(rng.integers(1, 5)))
    given = (element, int(last), x.address, out.address, code.address)
    if y.size:
        require_status(operation(0, *given, *rest), 0)
    require_equal("y", out.array, y.transpose(order))
    require_equal("codes", code.array, words)
    given = (element, int(last), back.address, out.address, code.address)
    require_status(operation(1, *given, *rest), 0)
    if y.size:
        plain = cases.unpool_reference(y.astype(np.float32), index, shape[2:])
        require_equal("x", back.array, plain.astype(y.dtype).transpose(order))
    code.array[...] = words = rng.integers(-(2**31), 2**31, words.shape, np.int64).astype(np.int32)
    require_status(operation(1, *given, *rest), 0)
    any_codes = cases.unpack_codes(words, shape[1])
    expected = expected_unpool(y, any_codes, shape[2:]).transpose(order)
    require_equal("x of any codes", back.array, expected)


def host_loop(libraries: Libraries, rng: Any) -> None:
    """The code of the CUDA kernels; nothing is launched for empty planes."""
    shape, ceil_mode = random_shape(rng), bool(rng.integers(2))
    kind, layout = int(rng.integers(4)), int(rng.integers(3))
    values = random_values(rng, shape, HOST_TYPES[kind])
    processors = int(rng.choice((0, 4, 132)))
    sizes = (*sizes_of(*shape), int(ceil_mode), processors)
    if not values.size:
        for unpool in (0, 1):
            threads = libraries.host_loop.segnet_host_threads(unpool, kind, layout, None, *sizes)
            require_status(threads, 0)
        return
    y, codes, _ = expected_pool(values, ceil_mode)
    words = cases.pack_codes(codes)

    def laid_out(array: Any) -> Any:
        if layout == 0:
            return array
        extra = -shape[1] % 8 if layout == 2 else 0
        return np.pad(array.transpose(0, 2, 3, 1), ((0, 0), (0, 0), (0, 0), (0, extra)))

    skip = int(rng.choice((0, 0, 1, 3))) * values.itemsize  # addresses that are not aligned
    x, out = filled(laid_out(values), skip), Buffer(laid_out(y).shape, y.dtype, skip)
    code, back = Buffer(words.shape, np.int32), Buffer(x.array.shape, y.dtype, skip)
    pointers = (x.address, out.address, code.address, back.address)
    libraries.host_loop.segnet_host_pair(kind, layout, *pointers, *sizes)
    require_equal("y", out.array, laid_out(y))
    require_equal("codes", code.array, words)
    require_equal("x", back.array, laid_out(expected_unpool(y, codes, shape[2:])))
    code.array[...] = words = rng.integers(-(2**31), 2**31, words.shape, np.int64).astype(np.int32)
    pointers = (out.address, code.address, back.address)
    libraries.host_loop.segnet_host_unpool(kind, layout, *pointers, *sizes)
    any_codes = cases.unpack_codes(words, shape[1])
    expected = laid_out(expected_unpool(y, any_codes, shape[2:]))
    require_equal("x of any codes", back.array, expected)


def onnxruntime_operators(libraries: Libraries, rng: Any) -> None:
    """Both operators in ONNX Runtime."""
    shape, ceil_mode, last = random_shape(rng), bool(rng.integers(2)), bool(rng.integers(2))
    values = random_values(rng, shape, CPU_TYPES[rng.integers(3)])
    y, codes, _ = expected_pool(values, ceil_mode)
    order = (0, 2, 3, 1) if last else (0, 1, 2, 3)
    feed = {"x": np.ascontiguousarray(values.transpose(order)), "y": y.transpose(order)}
    feed |= {"code": cases.pack_codes(codes), "image": np.zeros((1, 1, *shape[2:]), np.float32)}
    types = {"x": values.dtype.name, "y": values.dtype.name}
    common = {"ceil_mode": int(ceil_mode), "channels_last": int(last)}
    shapes = {name: array.shape for name, array in feed.items()}
    pool = Use("pool", POOL, ("x",), common, types=types)
    found = malformed_operators.run(pool, libraries.onnxruntime, shapes, feed)
    require_equal("y", found[0], feed["y"])
    require_equal("codes", found[1], feed["code"])
    by_image = bool(rng.integers(2))
    sizes = {} if by_image else {"height": shape[2], "width": shape[3]}
    inputs = ("y", "code", "image") if by_image else ("y", "code")
    unpool = Use("unpool", UNPOOL, inputs, common | sizes, types=types)
    found = malformed_operators.run(unpool, libraries.onnxruntime, shapes, feed)
    expected = expected_unpool(y, codes, shape[2:]).transpose(order)
    require_equal("x", found[0], expected)


def malformed_nodes(libraries: Libraries, rng: Any) -> None:
    """A use of the table, or codes or a size that do not fit the values."""
    use = malformed_operators.USES[rng.integers(len(malformed_operators.USES))]
    if rng.random() < 0.5:
        n, c, h, w = random_shape(rng)
        code, size = [n, -(-c // 16), h // 2, w // 2], {"height": h, "width": w}
        axis = int(rng.integers(6))
        if axis < 4:
            code[axis] += 1
        else:
            name = ("height", "width")[axis - 4]
            size[name] = int(rng.choice((size[name] + 2, -2, *HUGE)))
        shapes = {"y": (n, c, h // 2, w // 2), "code": tuple(code)}
        use = Use("random", UNPOOL, ("y", "code"), size, shapes=shapes)
    message = malformed_operators.error(use, libraries.onnxruntime)
    assert message is not None, f"{use}: expected an error"
    assert use.message in message, f"{use}: {message}"


def python_calls(libraries: Libraries, rng: Any) -> None:
    """Arrays that segnet_deploy.native.max_unpool must refuse."""
    max_unpool._library = lambda: libraries.cpu
    n, c, h, w = random_shape(rng)
    x, y = np.zeros((n, h, w, c), np.float32), np.zeros((n, h // 2, w // 2, c), np.float32)
    codes: Any = np.zeros(y.shape, np.uint8)
    shape = list(y.shape)
    shape[rng.integers(4)] += 1
    wrong: dict[str, tuple[Any, Any, Any]] = {
        "shape of y": (x, np.zeros(shape, np.float32), codes),
        "type of y": (x, y.astype(np.float64), codes),
        "type of x": (x.astype(np.int8), y, codes),
        "type of codes": (x, y, codes.astype(rng.choice(("int32", "int8", "float32")))),
        "shape of codes": (x, y, np.zeros(shape, np.uint8)),
        "dimensions": (x[..., None], y[..., None], codes[..., None]),
    }
    name = str(rng.choice(list(wrong)))
    x, y, codes = wrong[name]
    calls: list[Callable[[], Any]] = [lambda: max_unpool.unpool(y, codes, x, False)]
    if "codes" not in name:
        calls.append(lambda: max_unpool.pool(x, y, False))
    for call in calls:
        try:
            call()
        except ValueError:
            continue
        raise AssertionError(f"{name}: expected ValueError")

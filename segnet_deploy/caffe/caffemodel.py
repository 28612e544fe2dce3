"""The weights of a caffemodel: the blobs of each layer, from Caffe's binary file.

Field numbers are those of caffe.proto: NetParameter has `layer` (100) and, before 2015, `layers`
(2). Only names and blobs are read: other numbers differ between versions of Caffe, and the layers'
settings come from the prototxt.
"""

from __future__ import annotations

import math
import mmap
import string
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from segnet_deploy.caffe.wire import BYTES, FIXED32, FIXED64, VARINT, read_fields, read_varint
from segnet_deploy.errors import InputError
from segnet_deploy.types import Array

Weights = Mapping[str, tuple[Array, ...]]
"""The blobs of each layer by its name, float32, in Caffe's shapes."""

_LAYER, _OLD_LAYER = 100, 2
_NAME_AND_BLOBS = {_LAYER: (1, 7), _OLD_LAYER: (4, 6)}
_DATA, _SHAPE, _DOUBLE_DATA = 5, 7, 8
_OLD_SIZES = (1, 2, 3, 4)  # num, channels, height, width
_LARGEST_SIZE = 1 << 31
_HDF5 = b"\x89HDF\r\n\x1a\n"
_PRINTABLE = frozenset(string.printable.encode())


def read_caffemodel(path: Path) -> Weights:
    """Read the weights of `path`; they stay in the file until they are used.

    Raises InputError if it is missing, damaged, truncated, text or HDF5.
    """
    data = _map(path)
    _check_kind(path, bytes(data[:1024]))
    weights: dict[str, tuple[Array, ...]] = {}
    try:
        for field in read_fields(data):
            if field.number in _NAME_AND_BLOBS and field.kind == BYTES:
                name, blobs = _layer(field.data, *_NAME_AND_BLOBS[field.number])
                if blobs:
                    weights[name] = blobs
    except InputError as error:
        raise InputError(
            f"cannot read the caffemodel {path}: {error}; copy or download it again"
        ) from error
    if not weights:
        raise InputError(
            f"{path} contains no layer with weights; expected a .caffemodel (not a .solverstate)"
        )
    return weights


def _map(path: Path) -> memoryview:
    try:
        with open(path, "rb") as stream:
            return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise InputError(f"cannot read the caffemodel {path}: {error.strerror or error}") from error
    except ValueError as error:  # an empty file cannot be mapped
        raise InputError(f"the caffemodel {path} is empty; copy or download it again") from error


def _check_kind(path: Path, start: bytes) -> None:
    if start.startswith(_HDF5):
        raise InputError(
            f"{path} is an HDF5 file (snapshot_format: HDF5), not protobuf: its layout is another, "
            "which is not supported; write it with snapshot_format: BINARYPROTO, or load it in "
            "Caffe and call net.save('model.caffemodel')"
        )
    if _PRINTABLE.issuperset(start):
        raise InputError(
            f"{path} is a text file; expected the binary .caffemodel here, and the text of the net "
            "as --prototxt"
        )


def _layer(data: memoryview, name_field: int, blob_field: int) -> tuple[str, tuple[Array, ...]]:
    """Return the name and the blobs of one layer. Raises InputError."""
    name, messages = "", []
    for field in read_fields(data):
        if field.number == name_field:
            name = bytes(field.data).decode("utf-8", "replace")
        elif field.number == blob_field:
            messages.append(field.data)
    blobs = []
    for number, message in enumerate(messages):
        try:
            blobs.append(_blob(message))
        except InputError as error:
            raise InputError(f"blob {number} of layer '{name}': {error}") from error
    return name, tuple(blobs)


def _blob(data: memoryview) -> Array:
    """Return the values of one BlobProto as float32, in its shape. Raises InputError."""
    shape: list[int] | None = None
    old_shape: dict[int, int] = {}
    parts: list[memoryview] = []
    dtype = "<f4"
    for field in read_fields(data):
        if field.number == _SHAPE:
            shape = _shape(field.data)
        elif field.number in _OLD_SIZES and isinstance(field.value, int):
            old_shape[field.number] = field.value
        elif field.number in (_DATA, _DOUBLE_DATA) and field.kind in (BYTES, FIXED32, FIXED64):
            dtype = "<f4" if field.number == _DATA else "<f8"
            parts.append(field.data)
    if shape is None:
        shape = [old_shape.get(number, 1) for number in _OLD_SIZES]
    buffer = parts[0] if len(parts) == 1 else b"".join(parts)
    if any(not 0 <= size < _LARGEST_SIZE for size in shape):
        raise InputError(f"its shape {shape} is not one of a blob: damaged")
    size = np.dtype(dtype).itemsize
    if len(buffer) != size * math.prod(shape):
        raise InputError(
            f"its shape {shape} needs {math.prod(shape)} values but it has {len(buffer) / size:g}: "
            "damaged"
        )
    return np.frombuffer(buffer, dtype).reshape(shape).astype(np.float32, copy=False)


def _shape(data: memoryview) -> list[int]:
    """Return the sizes of a BlobShape, packed or not."""
    sizes = []
    for field in read_fields(data):
        if field.number != 1:
            continue
        if field.kind == VARINT and isinstance(field.value, int):
            sizes.append(field.value)
        else:
            position = 0
            while position < len(field.data):
                size, position = read_varint(field.data, position)
                sizes.append(size)
    return sizes

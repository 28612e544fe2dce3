"""The formats of torch.save and TorchScript, read in Python: no native code parses the file.

zip       torch 1.6 and newer, and TorchScript archives, whose code is not compiled
stream    torch 0.4 to 1.5: pickles, followed by the storages
tar       older
A dict of tensors from pickle.dump is read too.
"""

from __future__ import annotations

import io
import os
import pickle
import re
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

from segnet_export.checkpoints.restricted_pickle import RestrictedUnpickler
from segnet_export.checkpoints.stored_tensors import Storage, rebuild_tensor

_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a stream
_MAX_COMPRESSION = 64  # of records over 1 MiB
_OTHER_ACTIVATION = re.compile(
    rb"torch\.(leaky_relu|prelu|rrelu|elu|selu|celu|gelu|silu|mish|relu6|hardtanh|hardswish|"
    rb"softplus|tanh)_?\("
)


def read_torch_file(file: Path, unsafe: bool = False) -> Any:
    """Return the object in `file`; classes that it names are stood in for by Opaque objects.

    `unsafe` imports these classes instead, which runs code from the file. Raises almost any
    exception for a damaged file.
    """
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            return _read_zip(archive, unsafe)
    if tarfile.is_tarfile(file):
        with tarfile.open(file, "r:") as archive_of_members:
            return _read_tar(archive_of_members, unsafe)
    with open(file, "rb") as stream:
        if stream.read(2) == b"PK":
            raise pickle.UnpicklingError("a zip archive without its end")
        return _read_stream(stream, unsafe)


def find_activation(file: Path) -> str:
    """Return an activation other than ReLU that the code of a TorchScript archive calls, or ''."""
    if not zipfile.is_zipfile(file):
        return ""
    with zipfile.ZipFile(file) as archive:
        for item in archive.infolist():
            if "/code/" not in item.filename or not item.filename.endswith(".py"):
                continue
            if match := _OTHER_ACTIVATION.search(_record(archive, item.filename)):
                return match[1].decode()
    return ""


def _read_zip(archive: zipfile.ZipFile, unsafe: bool) -> Any:
    found = [name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"]]
    if not found:
        raise pickle.UnpicklingError("no data.pkl in the archive")
    folder = found[0].removesuffix("data.pkl")
    if f"{folder}byteorder" in archive.namelist():
        order = _record(archive, f"{folder}byteorder").strip()
        if order != b"little":
            raise pickle.UnpicklingError(f"byte order {order.decode()}")
    buffers: dict[str, bytearray] = {}

    def load_storage(identifier: Any) -> Storage:
        dtype, key, _ = _storage_identifier(identifier)
        if key not in buffers:
            buffers[key] = bytearray(_record(archive, f"{folder}data/{key}"))
        return Storage(buffers[key], dtype)

    data = io.BytesIO(_record(archive, found[0]))
    return RestrictedUnpickler(data, load_storage, _load_bytes, unsafe).load()


def _record(archive: zipfile.ZipFile, name: str) -> bytes:
    item = archive.getinfo(name)
    if item.file_size > _MAX_COMPRESSION * max(item.compress_size, 2**20):
        raise pickle.UnpicklingError(f"{name} would become {item.file_size} bytes")
    return archive.read(item)


def _storage_identifier(identifier: Any) -> tuple[Any, str, int]:
    """Return the type, the key and the number of elements of a persistent id."""
    kind, dtype, key, _, count = identifier[:5]
    if kind != "storage" or type(count) is not int or count < 0:
        raise pickle.UnpicklingError(f"an unknown object {kind!r}")
    return dtype, str(key), count


def _read_stream(stream: BinaryIO, unsafe: bool, nested: bool = False) -> Any:
    """Read a stream of pickles with its storages, or one pickle of another program."""
    left = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    storages: dict[str, Storage] = {}

    def load_storage(identifier: Any) -> Any:
        nonlocal left
        if identifier[0] == "module":  # a class, with its source code
            return identifier[1]
        dtype, key, count = _storage_identifier(identifier)
        if key not in storages:
            left -= count * dtype.itemsize
            if left < 0:
                raise pickle.UnpicklingError(f"{count} elements are not in the file")
            storages[key] = Storage(bytearray(count * dtype.itemsize), dtype)
        view = identifier[5] if len(identifier) > 5 else None
        if view is None:
            return storages[key]
        return Storage(storages[key].buffer, dtype, _offset(view[1], dtype.itemsize))

    def load() -> Any:
        load_bytes = None if nested else _load_bytes
        return RestrictedUnpickler(stream, load_storage, load_bytes, unsafe).load()

    first = load()
    if first != _MAGIC:
        return first
    _version, _sizes_of_c_types, found = load(), load(), load()
    for key in load():
        stream.read(8)  # the number of elements
        buffer = storages[str(key)].buffer
        if stream.readinto(buffer) != len(buffer):  # type: ignore[attr-defined]  # of BufferedReader
            raise pickle.UnpicklingError(f"storage {key} is truncated")
    return found


def _load_bytes(data: bytes) -> Any:
    """Read a storage that pickle.dump saved as the bytes of a stream."""
    return _read_stream(io.BytesIO(data), unsafe=False, nested=True)


def _read_tar(archive: tarfile.TarFile, unsafe: bool) -> Any:
    """Read the members `storages`, `tensors` and `pickle`, which refer to one another by number."""
    objects: dict[int, Any] = {}

    def load(stream: BinaryIO) -> Any:
        return RestrictedUnpickler(stream, lambda number: objects[int(number)], None, unsafe).load()

    with _member(archive, "storages") as stream:
        for _ in range(load(stream)):
            number, _location, dtype = load(stream)
            (count,) = struct.unpack("<q", stream.read(8))
            data = stream.read(_offset(count, dtype.itemsize))
            objects[number] = Storage(bytearray(data), dtype)
        for number, whole, offset, _count in load(stream):
            root = objects[whole]
            start = _offset(offset, root.dtype.itemsize)
            objects[number] = Storage(root.buffer, root.dtype, start)
    with _member(archive, "tensors") as stream:
        for _ in range(load(stream)):
            number, storage, _type = load(stream)
            (dimensions,) = struct.unpack("<i4x", stream.read(8))
            *shape, offset = struct.unpack(
                f"<{2 * dimensions + 1}q", stream.read(16 * dimensions + 8)
            )
            size, stride = shape[:dimensions], shape[dimensions:]
            objects[number] = rebuild_tensor(objects[storage], offset, size, stride)
    with _member(archive, "pickle") as stream:
        return load(stream)


def _member(archive: tarfile.TarFile, name: str) -> BinaryIO:
    member = archive.extractfile(name)
    if member is None:
        raise pickle.UnpicklingError(f"{name} is not a file")
    return io.BytesIO(member.read())


def _offset(count: Any, itemsize: int) -> int:
    """Return the bytes of `count` elements. Raises UnpicklingError."""
    if type(count) is not int or count < 0:
        raise pickle.UnpicklingError(f"{count} elements")
    return count * itemsize

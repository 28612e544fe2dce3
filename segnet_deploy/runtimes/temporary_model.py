"""The bytes of an ONNX file as a file: runtimes and passes read files."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeAlias

from segnet_deploy.errors import InputError, renamed

ModelSource: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO"
"""A path or name, the bytes of an ONNX file, or a file object that returns them."""


class TemporaryModel:
    """A temporary file with the model that was given as bytes or as a file object.

    `name` is what errors call it. Removed by `close`, at the latest when the process ends. Raises
    InputError if the source has no bytes, or if they cannot be written.
    """

    def __init__(self, source: bytes | bytearray | memoryview | BinaryIO):
        self.name, data = _read(source)
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="segnet-")
            self.path = Path(self._folder.name) / "model.onnx"
            self.path.write_bytes(data)
        except OSError as error:
            raise InputError(
                f"cannot write {self.name} to a temporary file: {error.strerror or error}; free "
                "space or set TMPDIR"
            ) from error

    @contextlib.contextmanager
    def named(self) -> Iterator[Path]:
        """Yield the file; errors of the block call it `name`."""
        with renamed(self.path, self.name):
            yield self.path

    def close(self) -> None:
        """Remove the file."""
        self._folder.cleanup()


def _read(source: object) -> tuple[str, bytes]:
    """Return the name and the bytes of a source. Raises InputError."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"the model ({len(source)} bytes)", bytes(source)
    if not hasattr(source, "read"):
        raise InputError(
            f"cannot load {type(source).__name__}; expected a path, the name of a pretrained "
            "network, the bytes of an ONNX file, or a file object"
        )
    name = getattr(source, "name", None)
    name = str(name) if isinstance(name, (str, os.PathLike)) else "the file object"
    try:
        data = source.read()
    except (OSError, ValueError) as error:  # ValueError: it is closed, or its text cannot be read
        raise InputError(f"cannot read {name}: {error}") from error
    if not isinstance(data, (bytes, bytearray)):
        raise InputError(f"{name} is open as text; open it with mode 'rb'")
    return name, bytes(data)

"""An engine as bytes: the files that a worker on another machine needs, and their hash."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from segnet_deploy.batch.storage import absolute, plain, split_query, storage_of
from segnet_deploy.errors import EngineError, InputError, UnreadableInputError, renamed
from segnet_deploy.optional import require
from segnet_deploy.runtimes.base import is_engine_file


@dataclass(frozen=True)
class EngineFiles:
    """An ONNX file with its external weights, or a built engine with its sidecar.

    `files` are relative paths and contents, the model first; `sha256` is over the contents, so
    that of the model alone if there is no other file.
    """

    files: tuple[tuple[str, bytes], ...]
    sha256: str

    @property
    def name(self) -> str:
        """The name of the model's file."""
        return self.files[0][0]

    @contextlib.contextmanager
    def unpacked(self) -> Iterator[Path]:
        """Yield the path of the model in a temporary folder, only needed while it is opened.

        Errors of the block name the model instead. Raises EngineError (another hash) or InputError.
        """
        if hash_files(self.files) != self.sha256:
            raise EngineError(
                f"{self.name} arrived damaged at a worker: its SHA-256 is not "
                f"{self.sha256[:12]}...; run the same command again"
            )
        with tempfile.TemporaryDirectory(prefix="segnet-batch-") as folder:
            for name, data in self.files:
                path = Path(folder, name)
                try:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(data)
                except OSError as error:
                    raise InputError(
                        f"cannot write {name} into {folder}: {error.strerror or error}; free space "
                        "or set TMPDIR"
                    ) from error
            with renamed(f"{folder}{os.sep}", ""):
                yield Path(folder, self.name)


def read_engine(engine: str | os.PathLike[str]) -> EngineFiles:
    """Read an engine by path or URI. Raises InputError."""
    uri = absolute(engine)
    storage, shown = storage_of(uri), plain(uri)
    if storage.kind(uri) != "file":
        raise InputError(f"no such file: {shown}; expected an ONNX file from segnet-export")
    whole, query = split_query(uri)
    folder, _, name = whole.rpartition("/")
    try:
        files = [(name, storage.read_bytes(uri))]
        beside = [f"{name}.json"] if is_engine_file(name) else external_files(files[0][1])
        for other in beside:
            path = f"{folder}/{other}{query}"
            if storage.kind(path) == "file":
                files.append((other, storage.read_bytes(path)))
    except UnreadableInputError as error:
        raise InputError(str(error)) from error
    return EngineFiles(tuple(files), hash_files(files))


def hash_files(files: Iterable[tuple[str, bytes]]) -> str:
    """Return the SHA-256 over the contents of files."""
    total = hashlib.sha256()
    for _, data in files:
        total.update(data)
    return total.hexdigest()


def external_files(model: bytes) -> list[str]:
    """Return the files, below the model's folder, in which an ONNX model keeps weights.

    Returns [] for what is no ONNX file: opening it says what is wrong.
    """
    onnx = require("onnx")
    try:
        graph = onnx.load_model_from_string(model).graph
    except Exception:  # protobuf's types vary between versions
        return []
    found = {
        entry.value
        for tensor in graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    outside = ("/", "..")
    return sorted(
        name for name in found if not any(part in outside for part in PurePosixPath(name).parts)
    )

"""Files by path or URI: local ones by the standard library, s3:// and others by pyarrow."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO

from segnet_deploy.errors import InputError, UnreadableInputError, translated
from segnet_deploy.files import atomic_path, make_folder
from segnet_deploy.optional import require

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_PASSWORD = re.compile(r"://[^/@:]*:[^/@]*@")
_COPY_BYTES = 1 << 20


class Storage(ABC):
    """One filesystem. Names are the paths or URIs that the user gives, with / between folders."""

    @abstractmethod
    def kind(self, name: str) -> str | None:
        """Return file, folder, or None if there is nothing of this name. Raises InputError."""

    @abstractmethod
    def files(self, folder: str, recursive: bool = False) -> dict[str, int]:
        """Return the size in bytes of each file of a folder, by name, sorted. Raises InputError."""

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """Open a file for reading from start to end. Raises UnreadableInputError."""

    @abstractmethod
    def open_random(self, name: str) -> Any:
        """Return what pyarrow opens with random access. Raises UnreadableInputError."""

    @abstractmethod
    def local(self, name: str) -> contextlib.AbstractContextManager[Path]:
        """Yield a local path of a file: its own, or that of a copy. Raises UnreadableInputError."""

    @abstractmethod
    def write(self, name: str) -> contextlib.AbstractContextManager[Path]:
        """Yield a temporary local path; afterwards the file is there completely or not at all.

        Makes missing folders. Raises InputError.
        """

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file. Raises InputError."""

    @abstractmethod
    def size(self, name: str) -> int:
        """Return the size of a file in bytes. Raises UnreadableInputError."""

    def read_bytes(self, name: str) -> bytes:
        """Return the content of a file. Raises UnreadableInputError."""
        with self.open(name) as stream, _reading(name):
            return stream.read()

    def write_bytes(self, name: str, data: bytes) -> None:
        """Write a file completely or not at all. Raises InputError."""
        with self.write(name) as temporary:
            temporary.write_bytes(data)

    def glob(self, pattern: str) -> dict[str, int]:
        """Return the files that match a pattern (*, ?, [..]; ** is any number of folders)."""
        path, query = split_query(pattern)
        start = pattern_start(path)
        if self.kind(start + query) != "folder":
            return {}
        files = self.files(start + query, recursive=True)
        rest = path[len(start) :].lstrip("/").split("/")
        return {
            name: size
            for name, size in files.items()
            if _matches(split_query(name)[0][len(start) :].lstrip("/").split("/"), rest)
        }


class LocalStorage(Storage):
    """The files of this machine, by absolute path."""

    def kind(self, name: str) -> str | None:
        path = Path(name)
        return "folder" if path.is_dir() else "file" if path.exists() else None

    def files(self, folder: str, recursive: bool = False) -> dict[str, int]:
        found: dict[str, int] = {}
        pending = [folder]
        try:
            while pending:
                with os.scandir(pending.pop()) as entries:
                    for entry in entries:
                        if entry.is_file():
                            found[entry.path] = entry.stat().st_size
                        elif recursive and entry.is_dir(follow_symlinks=False):
                            pending.append(entry.path)
        except OSError as error:
            raise InputError(f"cannot read folder {folder}: {error.strerror or error}") from error
        return dict(sorted(found.items()))

    def open(self, name: str) -> BinaryIO:
        with _reading(name):
            return open(name, "rb")

    def open_random(self, name: str) -> Any:
        return self.open(name)

    @contextlib.contextmanager
    def local(self, name: str) -> Iterator[Path]:
        yield Path(name)

    @contextlib.contextmanager
    def write(self, name: str) -> Iterator[Path]:
        make_folder(Path(name).parent)
        with atomic_path(name) as temporary:
            yield temporary

    def size(self, name: str) -> int:
        with _reading(name):
            return Path(name).stat().st_size

    def remove(self, name: str) -> None:
        try:
            Path(name).unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"cannot remove {name}: {error.strerror or error}") from error


class ArrowStorage(Storage):
    """A filesystem of pyarrow; `uri` is that of its root, or of a bucket, with the query."""

    def __init__(self, uri: str):
        self._pyarrow: Any = require("pyarrow.fs", extra="batch")
        root, self._query = split_query(uri)
        try:
            self._fs, path = self._pyarrow.FileSystem.from_uri(uri)
        except Exception as error:  # the types differ between kinds of URI
            raise InputError(
                f"cannot open {plain(uri)}: {_reason(error)}; expected a path, or a URI that "
                "pyarrow opens (s3://, gs://, file://)"
            ) from error
        # What precedes the path of pyarrow in a URI, such as s3:// or hdfs://host:8020
        self._start = root[: len(root) - len(path)] if root.endswith(path) else root

    def kind(self, name: str) -> str | None:
        with translated(InputError, f"cannot open {plain(name)}"):
            found = self._fs.get_file_info(self._path(name)).type
        kinds = {self._pyarrow.FileType.File: "file", self._pyarrow.FileType.Directory: "folder"}
        return kinds.get(found)

    def files(self, folder: str, recursive: bool = False) -> dict[str, int]:
        selector = self._pyarrow.FileSelector(self._path(folder), recursive=recursive)
        with translated(InputError, f"cannot read folder {plain(folder)}"):
            found = self._fs.get_file_info(selector)
        return {
            self._uri(entry.path): entry.size
            for entry in sorted(found, key=lambda entry: entry.path)
            if entry.type == self._pyarrow.FileType.File
        }

    def open(self, name: str) -> BinaryIO:
        with _reading(name):
            stream: BinaryIO = self._fs.open_input_stream(self._path(name), compression=None)
            return stream

    def open_random(self, name: str) -> Any:
        with _reading(name):
            return self._fs.open_input_file(self._path(name))

    @contextlib.contextmanager
    def local(self, name: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="segnet-batch-") as folder:
            path = Path(folder, self._path(name).rpartition("/")[2])
            with self.open(name) as source, path.open("wb") as target, _reading(name):
                shutil.copyfileobj(source, target, _COPY_BYTES)
            yield path

    @contextlib.contextmanager
    def write(self, name: str) -> Iterator[Path]:
        folder, _, last = self._path(name).rpartition("/")
        with tempfile.TemporaryDirectory(prefix="segnet-batch-") as temporary:
            path = Path(temporary, last)
            yield path
            with translated(InputError, f"cannot write {plain(name)}"):
                self._fs.create_dir(folder, recursive=True)
                part = f"{folder}/.{last}.part"
                with path.open("rb") as source, self._fs.open_output_stream(part) as target:
                    shutil.copyfileobj(source, target, _COPY_BYTES)
                self._fs.move(part, self._path(name))

    def size(self, name: str) -> int:
        with _reading(name):
            found: int = self._fs.get_file_info(self._path(name)).size
            return found

    def remove(self, name: str) -> None:
        with translated(InputError, f"cannot remove {plain(name)}"):
            self._fs.delete_file(self._path(name))

    def _path(self, name: str) -> str:
        return name.removesuffix(self._query)[len(self._start) :]

    def _uri(self, path: str) -> str:
        return f"{self._start}{path}{self._query}"


def is_uri(name: str) -> bool:
    """Return whether a name is a URI, not a local path."""
    return _URI.match(name) is not None


def split_query(name: str) -> tuple[str, str]:
    """Return a name, and the query of a URI with its question mark; '' for a path."""
    path, mark, query = name.partition("?") if is_uri(name) else (name, "", "")
    return path, mark + query


def absolute(name: str | os.PathLike[str]) -> str:
    """Return a URI unchanged, and a local path as an absolute one."""
    text = os.fspath(name)
    return text if is_uri(text) else os.path.abspath(text)


def join(folder: str, *parts: str) -> str:
    """Return the name of a file in a folder, also of a URI with a query."""
    path, query = split_query(folder)
    return "/".join((path.rstrip("/"), *parts)) + query


def plain(name: str) -> str:
    """Return a name as files and messages show it: a URI without its query and its password."""
    return _PASSWORD.sub("://", split_query(name)[0])


def storage_of(name: str) -> Storage:
    """Return the storage of a path or URI. Raises InputError, MissingDependencyError."""
    if not is_uri(name):
        return LocalStorage()
    path, query = split_query(name)
    scheme, _, rest = path.partition("://")
    host = rest.partition("/")[0]
    return _arrow_storage(f"{scheme}://{host or '/'}{query}")


def has_pattern(name: str) -> bool:
    """Return whether a name has *, [ or, in a path, ?."""
    return any(mark in split_query(name)[0] for mark in "*?[")


def pattern_start(pattern: str) -> str:
    """Return the folder before the first part of a pattern with a pattern character."""
    parts = pattern.split("/")
    first = next(i for i, part in enumerate(parts) if any(mark in part for mark in "*?["))
    return "/".join(parts[:first]) or "/"


@functools.lru_cache(maxsize=16)
def _arrow_storage(uri: str) -> ArrowStorage:
    return ArrowStorage(uri)


def _matches(parts: list[str], pattern: list[str]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(parts[i:], pattern[1:]) for i in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


@contextlib.contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise UnreadableInputError(f"cannot read {plain(name)}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return text.strip().splitlines()[0] if text.strip() else type(error).__name__

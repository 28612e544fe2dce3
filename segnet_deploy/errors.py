"""The errors a caller can handle.

SegNetError
 ├── InputError             a file, image or argument is not usable
 │    ├── UsageError        the command line itself is wrong (exit status 2)
 │    └── UnreadableInputError  one image or video is missing or damaged; others may be read
 ├── UnsupportedModelError  the checkpoint or graph is not one we can treat exactly
 ├── ParityError            an exported file does not agree with its source
 ├── MissingDependencyError an optional library is not installed
 └── EngineError            a runtime failed while loading or running a file

Each message says what failed, the value, what was expected and the next command.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class SegNetError(Exception):
    """Base of every error this project raises on purpose.

    >>> try:
    ...     load("missing.onnx")
    ... except SegNetError as error:
    ...     print(error)
    no such file: missing.onnx; expected an ONNX file from segnet-export
    """


class InputError(SegNetError):
    """A file, image or argument cannot be used."""


class UsageError(InputError):
    """The command line is wrong; the tool exits with status 2."""


class UnreadableInputError(InputError):
    """An image, label map or video cannot be read; of several, the others still can."""


class UnsupportedModelError(SegNetError):
    """The checkpoint or graph is outside what can be handled exactly."""


class ParityError(SegNetError):
    """An exported file disagrees with the model that it came from."""


class MissingDependencyError(SegNetError):
    """An optional library is missing; the message names the extra to install."""


class EngineError(SegNetError):
    """A runtime failed to load or to run a file."""


@contextlib.contextmanager
def renamed(old: object, new: object) -> Iterator[None]:
    """Let errors of the block write `new` where they name `old`, such as a temporary file."""
    try:
        yield
    except SegNetError as error:
        error.args = tuple(str(text).replace(str(old), str(new)) for text in error.args)
        raise


@contextlib.contextmanager
def translated(kind: type[SegNetError], what: str, advice: str = "") -> Iterator[None]:
    """Raise any foreign exception of the block as `kind`: `what`: its reason; `advice`.

    The reason is the last line of the foreign message that is not empty. Errors of this project
    pass through unchanged.
    """
    try:
        yield
    except SegNetError:
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[-1] if lines else type(error).__name__
        raise kind(f"{what}: {reason}" + (f"; {advice}" if advice else "")) from error

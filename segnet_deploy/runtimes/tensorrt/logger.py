"""TensorRT's logger: keeps errors for our messages, and every line if a builder needs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def make_logger(trt: Any, keep_lines: bool = False) -> Any:
    """Return an ILogger of the module `trt` with `errors`, `lines` and `reason()`."""

    class Logger(trt.ILogger):  # type: ignore[misc]  # a base class of the loaded library
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[str] = []
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if keep_lines:
                self.lines.append(message)
            if int(severity) <= int(trt.ILogger.Severity.ERROR):
                self.errors.append(message)

        def reason(self) -> str:
            return first_error(self.errors)

    return Logger()


def first_error(errors: Sequence[str]) -> str:
    """Return the first error of a log: the later ones follow from it."""
    # Without a GPU every CUDA call is refused; that is not why a build fails.
    real = [e for e in errors if "catchCudaError" not in e] or list(errors)
    return " ".join(real[0].split()) if real else "no reason was given"

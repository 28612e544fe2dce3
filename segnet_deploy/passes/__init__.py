"""Graph passes on onnx-ir: callables that take an ir.Model and return a PassResult."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

FORMS = ("standard", "lowered", "plugin")
PRECISIONS = ("fp32", "fp16", "bf16", "int8")


@dataclass(frozen=True)
class PassResult:
    """The rewritten model, how many places changed and what the user should know."""

    model: ir.Model
    changed: int
    notes: tuple[str, ...] = ()

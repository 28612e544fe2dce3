"""Graph passes on onnx-ir: functions that rewrite an ir.Model in place and return a PassResult."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

FORMS = ("standard", "lowered", "plugin")
PRECISIONS = ("fp32", "fp16", "bf16", "int8")


@dataclass(frozen=True)
class PassResult:
    """The result of a graph pass.

    `model` is the model that was passed in, rewritten in place. `changed` counts the rewritten
    places and is 0 if nothing changed. `notes` are lines for the user, usually one per place.
    """

    model: ir.Model
    changed: int
    notes: tuple[str, ...] = ()

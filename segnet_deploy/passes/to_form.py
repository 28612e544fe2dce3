"""Bring any ONNX model to one of the three forms of unpooling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segnet_deploy.errors import InputError, UnsupportedModelError
from segnet_deploy.passes import FORMS, PassResult

if TYPE_CHECKING:
    import onnx_ir as ir


def to_form(model: ir.Model, form: str, integers: bool = True) -> PassResult:
    """Rewrite `model` in place to `form`, one of FORMS; return the PassResult.

    The ScatterND unpooling that torch exports is restored first. In a quantised model the lowered
    and plugin forms pool and unpool integers, unless `integers` is False.
    Raises InputError for another form. Raises UnsupportedModelError if a pair cannot be rewritten
    exactly, or if the model's form cannot be converted to `form`.
    """
    from segnet_deploy.passes import contract
    from segnet_deploy.passes.lower_unpooling import is_lowered, lower_unpooling
    from segnet_deploy.passes.restore_unpooling import restore_unpooling
    from segnet_deploy.passes.to_plugin_ops import to_plugin_ops

    if form not in FORMS:
        raise InputError(f"form {form!r}; expected {', '.join(FORMS)}")
    restored = restore_unpooling(model)
    if form != "lowered" and is_lowered(restored.model):
        raise UnsupportedModelError(
            f"the model is in the lowered form, which cannot be converted to the {form} form; use "
            "--form lowered, or start from the file that it was made from"
        )
    if form == "lowered":
        result = lower_unpooling(restored.model, integers)
    elif form == "plugin":
        result = to_plugin_ops(restored.model, integers)
    elif contract.DOMAIN in restored.model.opset_imports:
        raise UnsupportedModelError(
            "the model contains the plugin's operators, which cannot be converted to the standard "
            "form; start from the file that it was made from"
        )
    else:
        return restored
    return PassResult(
        result.model, max(restored.changed, result.changed), restored.notes + result.notes
    )


def to_tensorrt_form(model: ir.Model, form: str) -> PassResult:
    """Rewrite `model` in place to `form` as `to_form` does, with the integers that TensorRT parses.

    INT8 has zero points of 0, and only plugins work on it: TensorRT accepts no other operators
    between Q and DQ. A uint8 frame is cast at once. Raises what `to_form` raises.
    """
    from segnet_deploy.passes.cast_frame_first import cast_frame_first
    from segnet_deploy.passes.to_symmetric_int8 import to_symmetric_int8

    model = cast_frame_first(to_symmetric_int8(model).model).model
    return to_form(model, form, integers=form == "plugin")

"""Bring any ONNX model to one of the three forms of unpooling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from segnet_deploy.errors import InputError, UnsupportedModelError
from segnet_deploy.passes import FORMS, PassResult

if TYPE_CHECKING:
    import onnx_ir as ir


def to_form(model: ir.Model, form: str, integers: bool = True) -> PassResult:
    """Rewrite `model` in place: standard, lowered or plugin.

    torch's ScatterND unpooling is taken in as well. In a quantised model the lowered and the
    plugin form work on integers, unless `integers` is false. Raises UnsupportedModelError where a
    pair cannot be rewritten exactly, or where the form cannot be reached.
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
            f"the model is in the lowered form, which does not become the {form} form: take "
            "--form lowered, or start from the file that it was made from"
        )
    if form == "lowered":
        result = lower_unpooling(restored.model, integers)
    elif form == "plugin":
        result = to_plugin_ops(restored.model, integers)
    elif contract.DOMAIN in restored.model.opset_imports:
        raise UnsupportedModelError(
            "the model has the plugin's operators, which do not go back to the standard form; "
            "start from the file that it was made from"
        )
    else:
        return restored
    return PassResult(
        result.model, max(restored.changed, result.changed), restored.notes + result.notes
    )

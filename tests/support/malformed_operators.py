"""Uses of the ONNX Runtime operators that are errors, and a program that tries each of them.

    python tests/support/malformed_operators.py LIBRARY

prints one JSON line per use: its name, and ONNX Runtime's message or null. It is a program so that
a crash ends a child process and not the tests.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import TensorProto as T
from onnx import helper as h

from segnet_deploy.passes import contract

POOL, UNPOOL = contract.POOL, contract.UNPOOL
_TYPES = {
    "float32": T.FLOAT,
    "float64": T.DOUBLE,
    "int8": T.INT8,
    "uint8": T.UINT8,
    "int32": T.INT32,
}
SHAPES = {"x": (1, 3, 4, 4), "y": (1, 3, 2, 2), "code": (1, 1, 2, 2), "image": (1, 3, 4, 4)}
_SIZE = {"height": 4, "width": 4}


@dataclass(frozen=True)
class Use:
    """A node, its attributes, the shapes and types that differ, and a part of the message."""

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    message: str = ""
    outputs: tuple[str, ...] | None = None
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)


def _unpool(name: str, *inputs: str, message: str = "", **of: Any) -> Use:
    return Use(name, UNPOOL, inputs, message=message, **of)


_PAIR = ("y", "code")
_NO_SIZE = "SegNetMaxUnpool: no size; expected the attributes height and width, or the input image"
_DIFFER = "SegNetMaxUnpool: input sizes differ from the pool's output sizes"
USES = (
    _unpool("image named ''", *_PAIR, "", message=_NO_SIZE),
    _unpool("no image, no attributes", *_PAIR, message=_NO_SIZE),
    _unpool("height only", *_PAIR, attributes={"height": 4}, message=_NO_SIZE),
    _unpool("zero size", *_PAIR, attributes={"height": 0, "width": 0}, message=_DIFFER),
    _unpool("code named ''", "y", "", attributes=_SIZE),
    _unpool("y named ''", "", "code", attributes=_SIZE),
    _unpool("no code", "y", attributes=_SIZE),
    _unpool("surplus input", *_PAIR, "image", "x"),
    _unpool("surplus output", *_PAIR, attributes=_SIZE, outputs=("z", "code2")),
    _unpool("output named ''", *_PAIR, attributes=_SIZE, outputs=("",)),
    Use("pool without code", POOL, ("x",), outputs=("y",)),
    Use("pool with code named ''", POOL, ("x",), outputs=("y", "")),
    Use("pool with y named ''", POOL, ("x",), outputs=("", "code")),
    Use("pool of ''", POOL, ("",)),
    Use("pool of nothing", POOL, ()),
    Use("pool of two", POOL, ("x", "image")),
    *(
        _unpool(f"height {value!r}", *_PAIR, attributes={"height": value, "width": 4}, message=text)
        for value, text in (
            (4.0, "SegNetMaxUnpool: attribute height is not an int"),
            ("4", "SegNetMaxUnpool: attribute height is not an int"),
            ([4, 4], "SegNetMaxUnpool: attribute height is not an int"),
            (-4, "SegNetMaxUnpool: height is -4; expected 0 to 2147483647"),
            (2**62, "SegNetMaxUnpool: height is 4611686018427387904; expected"),
            (-(2**63) + 1, "expected 0 to 2147483647"),
            (6, _DIFFER),
            (3, _DIFFER),
        )
    ),
    Use("float ceil_mode", POOL, ("x",), {"ceil_mode": 1.0}, "attribute ceil_mode is not an int"),
    Use("text layout", POOL, ("x",), {"channels_last": "x"}, "channels_last is not an int"),
    *(
        _unpool(f"level {level}", *_PAIR, "image", attributes={"level": level}, message=text)
        for level, text in ((-1, "level is -1"), (31, "level is 31"), (64, "level is 64"))
    ),
    _unpool("level 1 of the pool's image", *_PAIR, "image", attributes={"level": 1}),
    _unpool("code words", *_PAIR, attributes=_SIZE, shapes={"y": (1, 17, 2, 2)}, message=_DIFFER),
    _unpool("batch", *_PAIR, attributes=_SIZE, shapes={"code": (2, 1, 2, 2)}, message=_DIFFER),
    _unpool("plane", *_PAIR, attributes=_SIZE, shapes={"code": (1, 1, 2, 1)}, message=_DIFFER),
    _unpool("no codes", *_PAIR, attributes=_SIZE, shapes={"code": (1, 0, 2, 2)}, message=_DIFFER),
    _unpool("float codes", *_PAIR, attributes=_SIZE, types={"code": "float32"}),
    _unpool("double values", *_PAIR, attributes=_SIZE, types={"y": "float64"}),
    Use("pool of double", POOL, ("x",), types={"x": "float64"}),
    *(
        Use(f"x of {rank}", POOL, ("x",), shapes={"x": (2,) * rank}, message="expected 4")
        for rank in (0, 1, 3, 5)
    ),
    *(
        _unpool(
            f"{name} of {rank}",
            *_PAIR,
            "image",
            shapes={name: (2,) * rank},
            message=f"SegNetMaxUnpool: {name} has {rank} dimensions; expected 4",
        )
        for name in ("y", "code", "image")
        for rank in (0, 3, 5)
    ),
)


def run(
    use: Use,
    library: str,
    shapes: dict[str, tuple[int, ...]] | None = None,
    values: dict[str, Any] | None = None,
) -> list[Any]:
    """Run the node on zeros, or `values`; ONNX Runtime raises one of several exceptions."""
    import onnxruntime

    sizes = SHAPES | (shapes or {}) | use.shapes
    outputs = use.outputs or (("y", "code") if use.op == POOL else ("z",))
    feed = {
        name: np.zeros(sizes[name], use.types.get(name, "int32" if name == "code" else "float32"))
        for name in use.inputs
        if name
    }
    feed |= {name: array for name, array in (values or {}).items() if name in feed}
    kind = next((_TYPES[array.dtype.name] for array in feed.values()), T.FLOAT)
    node = h.make_node(
        use.op, use.inputs, outputs, name="node", domain=contract.DOMAIN, **use.attributes
    )

    def value(name: str, kind: int) -> Any:
        return h.make_tensor_value_info(name, kind, None)

    graph = h.make_graph(
        [node],
        "test",
        [value(name, _TYPES[array.dtype.name]) for name, array in feed.items()],
        [value(n, T.INT32 if n.startswith("code") else kind) for n in outputs if n],
    )
    opsets = [h.make_opsetid("", 17), h.make_opsetid(contract.DOMAIN, 1)]
    model = h.make_model(graph, opset_imports=opsets, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # a block of its own for each output: sanitize.py
    options.register_custom_ops_library(library)
    found: list[Any] = onnxruntime.InferenceSession(model.SerializeToString(), options).run(
        None, feed
    )
    return found


def error(use: Use, library: str) -> str | None:
    """Return ONNX Runtime's message, or None if the use is not an error."""
    try:
        run(use, library)
    except Exception as raised:  # its exceptions have no common base
        return str(raised)
    return None


if __name__ == "__main__":
    for each in USES:
        print(json.dumps([each.name, error(each, sys.argv[1])]), flush=True)

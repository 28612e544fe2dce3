"""Read from the builder's own log what it built.

This needs no GPU; the engine inspector does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_LAYER = re.compile(r"^\s*Name: (?P<name>.+?), LayerType: (?P<type>\w+), (?P<rest>.*)$")
_DATATYPE = re.compile(r"(?:Datatype|Format/Datatype): (?P<dtype>[A-Za-z0-9]+)")
_TOTALS = {
    "activation_bytes": re.compile(r"Total Activation Memory: (\d+)"),
    "weights_bytes": re.compile(r"Total Weights Memory: (\d+)"),
}
CONVOLUTIONS = ("correlation", "convolution", "caskconvolution", "gemm")
NAMES = {
    "Float": "fp32",
    "FP32": "fp32",
    "Half": "fp16",
    "FP16": "fp16",
    "BFloat16": "bf16",
    "BF16": "bf16",
    "Int8": "int8",
    "INT8": "int8",
}


def layers(log: Sequence[str]) -> list[dict[str, Any]]:
    """Return each layer's name, type and the types of its inputs and outputs."""
    found = []
    for message in log:
        for line in message.splitlines():
            if match := _LAYER.match(line):
                inputs, _, outputs = match["rest"].partition("Outputs:")
                found.append(
                    {
                        "name": match["name"],
                        "type": match["type"],
                        "inputs": _datatypes(inputs.partition("Constants:")[0]),
                        "outputs": _datatypes(outputs),
                    }
                )
    return found


def totals(log: Sequence[str]) -> dict[str, int | None]:
    """Return the builder's own figures for activation and weights memory, in bytes."""
    text = "\n".join(log)
    return {
        name: int(match[1]) if (match := pattern.search(text)) else None
        for name, pattern in _TOTALS.items()
    }


def wrong_precision(found: Sequence[dict[str, Any]], precision: str) -> list[str]:
    """Return the convolutions whose input is not in `precision`."""
    return [
        str(layer["name"])
        for layer in found
        if layer["type"].lower() in CONVOLUTIONS
        and layer["inputs"]
        and layer["inputs"][0] != precision
    ]


def convolutions(found: Sequence[dict[str, Any]]) -> int:
    """Count the convolutions."""
    return sum(layer["type"].lower() in CONVOLUTIONS for layer in found)


def _datatypes(text: str) -> list[str]:
    return [NAMES.get(m["dtype"], m["dtype"].lower()) for m in _DATATYPE.finditer(text)]

"""The metadata that an exported file records: classes, normalisation, form, origin."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from segnet_deploy.classes import Colour
from segnet_deploy.errors import InputError

PREFIX = "segnet."


@dataclass(frozen=True)
class Metadata:
    """The `segnet.*` entries of an ONNX file's metadata_props.

    `mean` and `std` are on the 0-255 scale in the model's `channel_order`; `palette` is RGB.
    `multiple`: input sizes must be multiples of it. `fp32_layers` names the convolutions that an
    int8 file keeps in fp32; `label_output` is the output with logits or labels, which is the first.
    A file that samples its dropout has the number of `samples`, and in `dropout` the share of
    elements that each of its masks drops. `threshold` is that of the probability of class 1, if the
    network has one output channel, else 0. Files of other tools have no such entries and get the
    defaults: no classes, no normalisation, and the order 'bgr' in which frames are read.
    Raises InputError for values that cannot be used.

    >>> metadata = Metadata(classes=("road", "sky"), palette=((128, 64, 128), (70, 130, 180)))
    >>> metadata.to_props()["segnet.classes"]
    '["road", "sky"]'
    """

    classes: tuple[str, ...] = ()
    palette: tuple[Colour, ...] = ()
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    channel_order: str = "bgr"
    io: str = "tensor"
    form: str = "unknown"
    precision: str = "fp32"
    multiple: int = 1
    network: str = ""
    source_sha256: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    fp32_layers: tuple[str, ...] = ()
    label_output: str = ""
    samples: int = 0
    dropout: tuple[float, ...] = ()
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if self.channel_order not in ("bgr", "rgb"):
            raise InputError(f"channel order {self.channel_order!r}; expected 'bgr' or 'rgb'")
        if self.io not in ("tensor", "frame"):
            raise InputError(f"io {self.io!r}; expected 'tensor' or 'frame'")
        if len(self.mean) != 3 or len(self.std) != 3 or not all(self.std):
            raise InputError(
                f"mean {self.mean}, std {self.std}; expected three numbers each, std not 0"
            )
        if len(self.classes) != len(self.palette):
            raise InputError(f"{len(self.classes)} classes but {len(self.palette)} colours")
        if self.multiple < 1:
            raise InputError(f"multiple {self.multiple}; expected 1 or more")
        if self.samples < 0 or not all(0 < ratio < 1 for ratio in self.dropout):
            raise InputError(
                f"{self.samples} samples, dropout {self.dropout}; expected 0 or more samples, and "
                "ratios between 0 and 1"
            )

    def to_props(self) -> dict[str, str]:
        """Return metadata_props entries; each value is JSON."""
        return {PREFIX + f.name: json.dumps(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_props(cls, props: Mapping[str, str]) -> Metadata:
        """Read metadata_props; missing entries get the defaults. Raises InputError if damaged."""
        values: dict[str, Any] = {}
        for item in fields(cls):
            text = props.get(PREFIX + item.name)
            if text is None:
                continue
            try:
                values[item.name] = _to_tuples(json.loads(text))
            except (ValueError, RecursionError) as error:
                raise InputError(
                    f"metadata {PREFIX}{item.name} is not valid JSON ({text[:40]!r}); export again"
                ) from error
            if not _TYPES.get(item.name, _is_text)(values[item.name]):
                raise InputError(f"metadata {PREFIX}{item.name} is {text[:40]!r}; export again")
        return cls(**values)


def _to_tuples(value: Any) -> Any:
    return tuple(_to_tuples(item) for item in value) if isinstance(value, list) else value


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, tuple) and all(map(_is_text, value))


def _are_numbers(value: Any) -> bool:
    return isinstance(value, tuple) and all(
        isinstance(number, (int, float)) and abs(number) <= _LARGEST for number in value
    )


def _are_colours(value: Any) -> bool:
    return isinstance(value, tuple) and all(
        isinstance(colour, tuple)
        and len(colour) == 3
        and all(isinstance(level, int) and 0 <= level <= 255 for level in colour)
        for colour in value
    )


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and value <= _LARGEST


_LARGEST = 1e6  # of a mean, a standard deviation and a multiple; false for NaN
_TYPES: dict[str, Callable[[Any], bool]] = {
    "classes": _are_texts,
    "palette": _are_colours,
    "mean": _are_numbers,
    "std": _are_numbers,
    "multiple": _is_size,
    "versions": lambda value: isinstance(value, dict),
    "fp32_layers": _are_texts,
    "samples": _is_size,
    "dropout": _are_numbers,
    "threshold": lambda value: isinstance(value, (int, float)) and 0 <= value < 1,
}

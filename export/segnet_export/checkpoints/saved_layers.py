"""What a network that was saved whole says beside its tensors.

The kinds of its layers, eps of the normalisations, and how pools and convolutions treat borders.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from segnet_deploy.errors import UnsupportedModelError
from segnet_export.checkpoints.families import Family
from segnet_export.checkpoints.networks import Layer
from segnet_export.checkpoints.reading import RawCheckpoint

DEFAULT_EPS = 1e-5
_TORCH = re.compile(r"(?:__torch__\.)?torch\.nn\.modules\..*?\.(?:___torch_mangle_\d+\.)?(\w+)")
_PLAIN = {
    *("Conv2d", "ConvTranspose2d", "BatchNorm2d", "SyncBatchNorm", "ReLU", "MaxPool2d"),
    *("MaxUnpool2d", "Dropout", "Dropout2d", "Softmax", "Softmax2d", "LogSoftmax", "Identity"),
    *("Sequential", "ModuleList", "ModuleDict", "Module", "DataParallel"),
    *("DistributedDataParallel", "CrossEntropyLoss", "NLLLoss"),
}


# Settings of a SegNet's layers; other values compute something else.
_SETTINGS: dict[str, dict[str, Any]] = {
    "Conv2d": {"stride": 1, "dilation": 1, "groups": 1, "padding_mode": "zeros"},
    "ConvTranspose2d": {"stride": 1, "dilation": 1, "groups": 1, "output_padding": 0},
    "MaxPool2d": {"kernel_size": 2, "stride": 2, "padding": 0, "dilation": 1},
    "MaxUnpool2d": {"kernel_size": 2, "stride": 2, "padding": 0},
}
_ADVICE = "give your own class with --module pkg.mod:Class"


def refuse_other_layers(raw: RawCheckpoint, family: Family) -> None:
    """Raise UnsupportedModelError if a saved layer is none of those that a SegNet has."""
    for name, kind, layer in _torch_layers(raw, family):
        if kind not in _PLAIN:
            raise UnsupportedModelError(f"'{name}' is a {kind}; {family.name} has none; {_ADVICE}")
        expected = dict(_SETTINGS.get(kind, {}))
        if kind.startswith("Conv") and (size := layer.settings.get("kernel_size")):
            expected["padding"] = tuple(n // 2 for n in size)
        for setting, value in expected.items():
            found = layer.settings.get(setting, value)
            if found not in (value, (value, value)):
                raise UnsupportedModelError(
                    f"'{name}' has {setting} {found}; expected {value} in {family.name}; {_ADVICE}"
                )
    if raw.activation:
        raise UnsupportedModelError(
            f"the archive's code calls {raw.activation}; {family.name} has none; {_ADVICE}"
        )


def batch_norm_eps(raw: RawCheckpoint, family: Family) -> float:
    """Return the eps of the saved normalisations, or torch's default if the file has none.

    Raises UnsupportedModelError if they differ.
    """
    found = _settings_of(raw, family, "BatchNorm2d", "eps")
    return float(found[0]) if found else DEFAULT_EPS


def pool_geometry(raw: RawCheckpoint, family: Family) -> str | None:
    """Return 'ceil' or 'floor' of the saved pools, or None if the file has none.

    Raises UnsupportedModelError if they differ.
    """
    found = _settings_of(raw, family, "MaxPool2d", "ceil_mode")
    return ("ceil" if found[0] else "floor") if found else None


def _settings_of(raw: RawCheckpoint, family: Family, kind: str, setting: str) -> list[Any]:
    """Return the one value of a setting of all layers of a kind, or nothing."""
    layers = (layer for _, name, layer in _torch_layers(raw, family) if name == kind)
    found = sorted({layer.settings[setting] for layer in layers if setting in layer.settings})
    if len(found) > 1:
        raise UnsupportedModelError(
            f"the {kind} layers have different {setting} ({', '.join(map(str, found))}); {_ADVICE}"
        )
    return found


def _torch_layers(raw: RawCheckpoint, family: Family) -> Iterator[tuple[str, str, Layer]]:
    """Yield the name and the class of each layer of torch that the network uses, and the layer."""
    for name, layer in raw.layers.items():
        match = _TORCH.fullmatch(layer.type_name)
        if match and not re.fullmatch(family.unused, f"{name}."):
            yield name, match[1], layer

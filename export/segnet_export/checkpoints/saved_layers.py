"""What a network that was saved whole says beside its tensors: the kinds of its layers, and eps."""

from __future__ import annotations

import re

from segnet_deploy.errors import UnsupportedModelError
from segnet_export.checkpoints.families import Family
from segnet_export.checkpoints.reading import RawCheckpoint

DEFAULT_EPS = 1e-5
_TORCH = re.compile(r"(?:__torch__\.)?torch\.nn\.modules\..*?\.(?:___torch_mangle_\d+\.)?(\w+)")
_PLAIN = {
    *("Conv2d", "ConvTranspose2d", "BatchNorm2d", "SyncBatchNorm", "ReLU", "MaxPool2d"),
    *("MaxUnpool2d", "Dropout", "Dropout2d", "Softmax", "Softmax2d", "LogSoftmax", "Identity"),
    *("Sequential", "ModuleList", "ModuleDict", "Module", "DataParallel"),
    *("DistributedDataParallel", "CrossEntropyLoss", "NLLLoss"),
}


def refuse_other_layers(raw: RawCheckpoint, family: Family) -> None:
    """Raise UnsupportedModelError if a saved layer is none of those that a SegNet has."""
    advice = f"{family.name} has none; give your own class with --module pkg.mod:Class"
    for name, layer in raw.layers.items():
        match = _TORCH.fullmatch(layer.type_name)
        if match and match[1] not in _PLAIN and not re.fullmatch(family.unused, f"{name}."):
            raise UnsupportedModelError(f"'{name}' is a {match[1]}; {advice}")
    if raw.activation:
        raise UnsupportedModelError(f"the archive's code calls {raw.activation}; {advice}")


def batch_norm_eps(raw: RawCheckpoint) -> float:
    """Return the eps of the saved normalisations, or torch's default if the file has none.

    Raises UnsupportedModelError if they differ.
    """
    found = {
        layer.settings["eps"]
        for layer in raw.layers.values()
        if "BatchNorm" in layer.type_name and "eps" in layer.settings
    }
    if len(found) > 1:
        raise UnsupportedModelError(
            f"the normalisations have different eps ({', '.join(map(str, sorted(found)))}); give "
            "your own class with --module pkg.mod:Class"
        )
    return float(found.pop()) if found else DEFAULT_EPS

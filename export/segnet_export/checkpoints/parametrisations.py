"""Fold weights that are stored in parts: weight_norm, spectral_norm and pruning.

Each is computed as torch computes it in evaluation mode. The parts' names:

weight_g, weight_v                weight_norm; as a parametrisation, original0 and original1
weight_orig, weight_u, weight_v   spectral_norm; as a parametrisation, original, 0._u and 0._v
weight_orig, weight_mask          pruning
"""

from __future__ import annotations

import re
from collections.abc import Callable

import torch
from torch import Tensor

from segnet_deploy.errors import UnsupportedModelError

_PART = re.compile(r"(?P<owner>.*\.|)(?:weight_(?P<old>\w+)|parametrizations\.weight\.(?P<new>.+))")
_MIN_RATIO = 2.0  # between the norms of the two readings of a square weight

Parts = dict[str, Tensor]


def fold_parametrisations(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors with one `weight` in place of the parts of each.

    Raises UnsupportedModelError, which names the layer, for other parts or shapes.
    """
    groups: dict[str, Parts] = {}
    for name, value in tensors.items():
        if match := _PART.fullmatch(name):
            groups.setdefault(match["owner"], {})[match["old"] or match["new"]] = value
    folded: dict[str, Tensor] = {}
    for name, value in tensors.items():
        match = _PART.fullmatch(name)
        if match is None:
            folded[name] = value
        elif (weight := f"{match['owner']}weight") not in folded:
            folded[weight] = _fold(match["owner"], groups[match["owner"]])
    return folded


def _fold(owner: str, parts: Parts) -> Tensor:
    found = _FOLDS.get(frozenset(parts))
    if found is not None:
        function, names = found
        try:
            return function(*(parts[name] for name in names))
        except ValueError as error:
            reason = str(error)
    else:
        reason = f"of parts {', '.join(sorted(parts))}"
    raise UnsupportedModelError(
        f"the weight of '{owner.rstrip('.')}' is parametrised, {reason}; remove the "
        "parametrisation before you save (torch.nn.utils.parametrize.remove_parametrizations)"
    )


def _weight_norm(magnitude: Tensor, direction: Tensor) -> Tensor:
    """Return g * v / |v|, the norm over every axis but that of `magnitude`."""
    if magnitude.dim() == 0:
        return torch._weight_norm(direction, magnitude, -1)
    sizes = list(zip(magnitude.shape, direction.shape, strict=False))
    axis = next((i for i, (n, _) in enumerate(sizes) if n > 1), None)
    if axis is None:  # one norm for everything: of the axis of size 1
        axis = next((i for i, (_, n) in enumerate(sizes) if n == 1), 0)
    expected = [n if i == axis else 1 for i, n in enumerate(direction.shape)]
    if list(magnitude.shape) != expected:
        raise ValueError(f"with shapes {tuple(magnitude.shape)} and {tuple(direction.shape)}")
    return torch._weight_norm(direction, magnitude, axis)


def _spectral_norm(weight: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """Return the weight divided by u W v, where W has the outputs as rows."""
    if weight.dim() < 2:
        raise ValueError(f"with shape {tuple(weight.shape)}")
    norms = []
    for axis in (0, 1):  # of the outputs: 1 for transposed convolutions
        others = [i for i in range(weight.dim()) if i != axis]
        matrix = weight.permute(axis, *others).flatten(1)
        if u.shape == matrix.shape[:1] and v.shape == matrix.shape[1:]:
            norms.append(torch.dot(u, torch.mv(matrix, v)))
    norms.sort(key=lambda norm: -abs(float(norm)))
    if not norms:
        raise ValueError(f"with shapes {tuple(weight.shape)}, {tuple(u.shape)}, {tuple(v.shape)}")
    if len(norms) > 1 and abs(norms[0]) < _MIN_RATIO * abs(norms[1]):
        raise ValueError(f"with shape {tuple(weight.shape)}, whose rows are not determined")
    return weight / norms[0]


def _pruned(weight: Tensor, mask: Tensor) -> Tensor:
    if weight.shape != mask.shape:
        raise ValueError(f"with shapes {tuple(weight.shape)} and {tuple(mask.shape)}")
    return mask.to(weight.dtype) * weight


_FOLDS: dict[frozenset[str], tuple[Callable[..., Tensor], tuple[str, ...]]] = {
    frozenset(names): (function, names)
    for function, names in (
        (_weight_norm, ("g", "v")),
        (_weight_norm, ("original0", "original1")),
        (_spectral_norm, ("orig", "u", "v")),
        (_spectral_norm, ("original", "0._u", "0._v")),
        (_pruned, ("orig", "mask")),
    )
}

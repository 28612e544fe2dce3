"""`--dropout`: the places of Bayesian SegNet, in a network that was loaded without dropout."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from segnet_deploy.errors import InputError, UnsupportedModelError
from segnet_export.models.basic import SegNetBasic
from segnet_export.models.segnet import DROPOUTS, SegNet


def place_dropout(module: nn.Module, places: str) -> None:
    """Let `module`, a SegNet or SegNetBasic, drop values at `places`, one of DROPOUTS.

    SegNetConfig and SegNetBasic say which places these are. Raises InputError for other places,
    UnsupportedModelError for another network.

    >>> from segnet_export import SegNet, SegNetConfig, place_dropout
    >>> network = SegNet(SegNetConfig.standard(5, width=2))
    >>> place_dropout(network, "bayesian")
    >>> network.config.dropout
    'bayesian'
    """
    if places not in DROPOUTS:
        raise InputError(f"dropout {places!r}; expected {' or '.join(DROPOUTS)}")
    if isinstance(module, SegNet):
        module.config = replace(module.config, dropout=places)
    elif isinstance(module, SegNetBasic) and places == "bayesian":
        module.drops = True
    else:
        raise UnsupportedModelError(
            f"dropout '{places}' has no places in a {type(module).__name__}; expected a SegNet"
            f"{' or a SegNet-Basic' if places == 'bayesian' else ''}: put nn.Dropout into the "
            "network's own module, and export it with --module"
        )

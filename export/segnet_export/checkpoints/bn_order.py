"""Whether ReLU comes before or after batch normalisation, from the running means.

Means of ReLU's outputs are never negative; about half of those of a convolution's outputs are.
"""

from __future__ import annotations

import torch

from segnet_export.checkpoints.layout import Layout

RELU_FIRST = 0.02  # the largest share of negative means, by size
BN_FIRST = 0.2  # the smallest


def relu_is_first(layout: Layout) -> tuple[bool, str]:
    """Return whether BN normalised the output of ReLU, and the reason for the user.

    The share of negative means is weighted by their size in standard deviations, so that a mean of
    -1e-12 does not count. Between both cases BN is assumed to come first.
    """
    norms = [unit.bn for unit in layout.units if unit.bn is not None]
    if not norms or not any(bool(bn["running_mean"].any()) for bn in norms):
        return False, "assumed: BN before ReLU, as no running mean differs from 0"
    means = torch.cat([bn["running_mean"] / (bn["running_var"] + 1e-5).sqrt() for bn in norms])
    share = float(-means.clamp(max=0).sum() / means.abs().sum())
    count = int((means < 0).sum())
    evidence = f"{count} of {len(means)} running means are negative ({share:.1%} by size)"
    if share < RELU_FIRST:
        return True, (
            f"ReLU comes before BN (as in nshaud/DeepNetsForEO): {evidence}; --bn-order bn-relu "
            "overrides this"
        )
    if share > BN_FIRST:
        return False, f"BN comes before ReLU: {evidence}"
    return False, (
        f"assumed, unsure: BN before ReLU, although only {evidence}; compare the labels with your "
        "own code's, or give --bn-order"
    )

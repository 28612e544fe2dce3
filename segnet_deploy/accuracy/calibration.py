"""Whether uncertainty tells right pixels from wrong ones, over a set of labelled frames.

Sources: Bayesian SegNet (arXiv 1511.02680), section 4: accuracy of the most certain pixels; Guo et
al. 2017, On Calibration of Modern Neural Networks (arXiv 1706.04599): the calibration error.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from segnet_deploy.accuracy.metrics import VOID
from segnet_deploy.types import Array, Frame

SHARES = (0.5, 0.9, 1.0)  # of the pixels, the most certain first
_CONFIDENCE_BINS = 15
_BINS = 2**15  # the bits of non-negative float16 numbers are in their order


class Calibration:
    """Adds up frames; `figures` returns the result.

    >>> truth, labels = np.array([[0, 1, 1, 0]], np.uint8), np.array([[0, 1, 1, 1]], np.uint8)
    >>> calibration = Calibration(2)
    >>> calibration.add(truth, labels, np.array([[0, 0, 0.1, 0.2]]), np.array([[1, 1, 0.75, 0.75]]))
    >>> calibration.figures()
    {'accuracy_of_most_certain': {'0.5': 1.0, '0.9': 0.8333333333333333, '1.0': 0.75}, 'ece': 0.125}
    """

    def __init__(self, classes: int):
        self._classes = classes
        self._pixels, self._right = np.zeros(_BINS), np.zeros(_BINS)
        self._bins = np.zeros((3, _CONFIDENCE_BINS))  # pixels, right ones, sum of confidences

    @property
    def pixels(self) -> int:
        """The number of labelled pixels so far."""
        return int(self._pixels.sum())

    def add(self, truth: Frame, labels: Frame, uncertainty: Array, confidence: Array) -> None:
        """Add a frame: labels (H, W) uint8, maps (H, W) float. Void pixels do not count."""
        known = (truth < self._classes) & (truth != VOID)
        right = (truth == labels)[known].astype(np.float64)
        order = np.maximum(uncertainty[known], 0).astype(np.float16).view(np.uint16)
        self._pixels += np.bincount(order, minlength=_BINS)
        self._right += np.bincount(order, right, minlength=_BINS)
        values = confidence[known].astype(np.float64)
        bins = np.minimum((values * _CONFIDENCE_BINS).astype(np.int64), _CONFIDENCE_BINS - 1)
        for total, weights in zip(self._bins, (None, right, values), strict=True):
            total += np.bincount(bins, weights, minlength=_CONFIDENCE_BINS)

    def figures(self) -> dict[str, Any]:
        """Return shares, 0 to 1, once there are pixels.

        `accuracy_of_most_certain` is the share of right pixels among the most certain 50, 90 and
        100 %; `ece`, the expected calibration error, the mean difference between confidence and
        accuracy in 15 bins of the confidence.
        """
        count = self._pixels.sum()
        most_certain = {str(share): self._accuracy(share * count) for share in SHARES}
        pixels, right, confidence = self._bins
        ece = float(np.abs(right - confidence).sum() / pixels.sum())
        return {"accuracy_of_most_certain": most_certain, "ece": ece}

    def _accuracy(self, count: float) -> float:
        """Return the share of right pixels among the `count` most certain.

        Pixels of one uncertainty count in part.
        """
        cumulated = np.concatenate([[0.0], np.cumsum(self._pixels)])
        right = np.concatenate([[0.0], np.cumsum(self._right)])
        last = int(np.searchsorted(cumulated, count))
        inside = cumulated[last] - cumulated[last - 1]
        part = (count - cumulated[last - 1]) / inside if inside else 0.0
        found = right[last - 1] + part * (right[last] - right[last - 1])
        return float(found / count)

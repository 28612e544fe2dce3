"""Accuracy of label maps as SegNet's authors compute it: G, C, mIoU and the boundary F1.

Labels are (H, W) uint8 ids. VOID ground-truth pixels, and any id beyond the classes, are excluded
from the confusion matrix. Source: SegNet (Badrinarayanan et al. 2015), section 4, and Csurka et
al. 2013.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from segnet_deploy.errors import InputError
from segnet_deploy.optional import require
from segnet_deploy.types import Frame

VOID = 255
BOUNDARY_TOLERANCE = 0.0075  # of the image's diagonal
Counts = np.ndarray[Any, np.dtype[np.int64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]


def confusion(truth: Frame, labels: Frame, classes: int) -> Counts:
    """Return (classes, classes) counts, ground truth by rows. Raises InputError."""
    if truth.shape != labels.shape:
        raise InputError(f"labels {labels.shape} and ground truth {truth.shape} differ in size")
    known = (truth < classes) & (truth != VOID)
    predicted = labels[known].astype(np.int64)
    if predicted.size and predicted.max() >= classes:
        raise InputError(f"label {predicted.max()} was predicted; expected ids below {classes}")
    cells = truth[known].astype(np.int64) * classes + predicted
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


@dataclass(frozen=True)
class Accuracy:
    """Figures of one confusion matrix, 0 to 1; classes that never occur are NaN and excluded."""

    counts: Counts

    @property
    def global_accuracy(self) -> float:
        """G: the share of correct pixels."""
        total = self.counts.sum()
        return float(self.counts.trace() / total) if total else float("nan")

    @property
    def recall(self) -> Any:
        """The share of correct pixels of each ground-truth class."""
        return _ratio(self.counts.diagonal(), self.counts.sum(1))

    @property
    def iou(self) -> Any:
        """Intersection over union of each class."""
        hits = self.counts.diagonal()
        return _ratio(hits, self.counts.sum(0) + self.counts.sum(1) - hits)

    @property
    def class_average(self) -> float:
        """C: mean recall."""
        return _mean(self.recall)

    @property
    def mean_iou(self) -> float:
        """Mean intersection over union."""
        return _mean(self.iou)


def boundary_f1(truth: Frame, labels: Frame, classes: int) -> float:
    """Return BF of one image: the mean F1 over classes with a boundary; NaN without any.

    Boundary pixels match one to one within BOUNDARY_TOLERANCE of the diagonal, as many as
    possible. Void is a region like any other here.
    """
    radius = BOUNDARY_TOLERANCE * float(np.hypot(*truth.shape))
    scores = []
    for label in range(min(classes, VOID)):
        wanted, found = boundary(truth == label), boundary(labels == label)
        count = int(wanted.sum()) + int(found.sum())
        if count:
            # 2PR / (P + R) with P = m / found and R = m / wanted
            scores.append(2 * matches(wanted, found, radius) / count)
    return float(np.mean(scores)) if scores else float("nan")


def boundary(region: Mask) -> Mask:
    """Return the boundary pixels of a region, (H, W), as Arbelaez' seg2bdry at image size."""
    across, down = np.zeros_like(region), np.zeros_like(region)
    across[:, :-1] = region[:, :-1] != region[:, 1:]
    down[:-1] = region[:-1] != region[1:]
    edge = np.zeros_like(region)
    edge[:-1, :-1] = across[:-1, :-1] | across[1:, :-1] | down[:-1, :-1] | down[:-1, 1:]
    edge[-1], edge[:, -1] = across[-1], down[:, -1]
    edge[-1, -1] = False
    return edge


def matches(first: Mask, second: Mask, radius: float) -> int:
    """Return how many pixels of two masks can be paired one to one within `radius`, inclusive."""
    spatial, csgraph, sparse = (
        require(f"scipy.{name}", extra="eval") for name in ("spatial", "sparse.csgraph", "sparse")
    )
    a, b = np.argwhere(first), np.argwhere(second)
    if not len(a) or not len(b):
        return 0
    near = spatial.cKDTree(a).query_ball_tree(spatial.cKDTree(b), radius + 1e-9)
    sizes = np.fromiter(map(len, near), np.int64, len(near))
    columns = np.concatenate([np.asarray(n, np.int32) for n in near])
    starts = np.concatenate([[0], np.cumsum(sizes)])
    graph = sparse.csr_matrix(
        (np.ones(len(columns), np.int8), columns, starts), shape=(len(a), len(b))
    )
    paired = csgraph.maximum_bipartite_matching(graph, perm_type="column")
    return int((paired >= 0).sum())


def _ratio(part: Any, whole: Any) -> Any:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _mean(values: Any) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")

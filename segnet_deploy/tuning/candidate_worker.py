"""The child process of one candidate: its time and memory, and its accuracy.

open, round   as in bench/comparison/network_worker.py
arithmetic    what the runtime computes in
judge         accuracy on labelled frames, and the share of the reference's labels
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from segnet_deploy.accuracy.agreement import arithmetic
from segnet_deploy.accuracy.datasets import Example
from segnet_deploy.accuracy.metrics import Accuracy, confusion
from segnet_deploy.bench.comparison.network_worker import Answer, NetworkWorker
from segnet_deploy.frames import read_image
from segnet_deploy.progress import track
from segnet_deploy.system.child_process import report, serve
from segnet_deploy.types import Frame


class CandidateWorker(NetworkWorker):
    """Holds one file in one runtime, loaded by `open`."""

    @property
    def tasks(self) -> dict[str, Callable[..., Answer]]:
        """The tasks of the child process by name."""
        return super().tasks | {"arithmetic": self.arithmetic, "judge": self.judge}

    def arithmetic(self) -> Answer:
        """Return what the runtime computes the open file in."""
        segmenter, _ = self._opened()
        precision = segmenter.metadata.precision
        return {"computed": arithmetic(precision, segmenter.engine.computes_half)}

    def judge(
        self,
        images: Sequence[str],
        labels: Sequence[str] | None,
        layout: str,
        folder: str,
        reference: bool,
    ) -> Answer:
        """Return `agreement` with the label maps in `folder`, and with `labels` the accuracy.

        The `reference` writes its label maps there, one per image, and agrees with itself.
        """
        segmenter, _ = self._opened()
        names = segmenter.metadata.classes
        counts, shares = np.zeros((len(names),) * 2, np.int64), []
        for number, path in enumerate(track(images, "judging", report)):
            frame, truth = read_image(path), None
            if labels is not None:
                example = Example(Path(path), Path(labels[number]), layout)
                frame, truth = example.pair(len(names))
            found = segmenter.segment(frame)
            shares.append(_share(Path(folder) / f"{number}.npy", found, reference))
            if truth is not None:
                counts += confusion(truth, found, len(names))
        result: Answer = {"agreement": float(np.mean(shares))}
        if labels is None:
            return result
        accuracy = Accuracy(counts)
        classes = {
            name: None if math.isnan(iou) else float(iou)
            for name, iou in zip(names, accuracy.iou, strict=True)
        }
        return result | {"mean_iou": accuracy.mean_iou, "classes": classes}


def _share(path: Path, labels: Frame, reference: bool) -> float:
    """Return the share of labels equal to those at `path`; the reference writes them."""
    if reference:
        np.save(path, labels)
        return 1.0
    return float((np.load(path) == labels).mean())


if __name__ == "__main__":
    sys.exit(serve(CandidateWorker().tasks))

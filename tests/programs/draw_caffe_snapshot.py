"""Draw docs/pictures/caffe-snapshot.png: a training snapshot as it is and with its statistics.

    python tests/programs/draw_caffe_snapshot.py

The network is the demo's, written as a Caffe net: from left to right a drawn street, the labels of
the snapshot as it is, and its labels with statistics of 40 other drawn streets.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import caffe_from_torch
import caffe_nets
import caffe_schema

import segnet_deploy
from segnet_deploy.frames import write_png
from segnet_deploy.overlay import colorize
from segnet_deploy.scenes import draw_scene
from segnet_export import load_checkpoint

ROOT = Path(__file__).parents[2]
SIZE = (180, 240)
NORMALISATION = {"mean": (110.0, 110.0, 110.0), "std": (60.0, 60.0, 60.0)}
STREET, IMAGES = 1_000_004, range(1000, 1040)  # seeds; the street is unseen


def main() -> None:
    """Write the picture."""
    net = load_checkpoint(ROOT / "benchmarks" / "demo" / "segnet_demo.pt").model
    text, names = caffe_nets.segnet_text(net.config.encoder, net.config.decoder, 11, SIZE)
    street = draw_scene(STREET, *SIZE)
    pictures = [street.frame]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "images").mkdir()
        for seed in IMAGES:
            write_png(folder / "images" / f"{seed}.png", draw_scene(seed, *SIZE).frame)
        snapshot = caffe_from_torch.blobs(net, names, learned=True)
        (folder / "net.caffemodel").write_bytes(caffe_schema.caffemodel(snapshot))
        (folder / "net.prototxt").write_text(text)
        for images in (None, folder / "images"):
            result = segnet_deploy.convert_caffe(
                folder / "net.caffemodel",
                folder / "net.prototxt",
                folder / "net.onnx",
                classes="camvid",
                normalisation=NORMALISATION,
                bn_statistics=images,
            )
            with segnet_deploy.load(folder / "net.onnx", "onnxruntime") as segmenter:
                labels = segmenter.segment(street.frame)
                pictures.append(colorize(labels, segmenter.metadata.palette))
            print(
                f"right labels: {(labels == street.labels).mean():.1%}", *result.warnings, sep="\n"
            )
    gap = np.full((SIZE[0], 6, 3), 255, np.uint8)
    picture = np.hstack([pictures[0], gap, pictures[1], gap, pictures[2]])
    write_png(ROOT / "docs/pictures/caffe-snapshot.png", picture)


if __name__ == "__main__":
    main()

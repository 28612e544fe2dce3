"""Read a folder of prototxts with seeded weights, export each, and compare it with numpy.

    python tests/programs/check_caffe_models.py DIR

DIR has the public prototxts of SegNet's authors, FCN or DeconvNet, which are not part of this
project. Each gets a caffemodel of seeded weights, is exported at its own size, run in ONNX Runtime
on a drawn street, and compared with the numpy interpreter in tests/support. The last bits of sums
differ, which flips the mask of nearly tied windows: `flips` counts them, and `given` and max|d| (as
a share of the largest score) compare with numpy where it takes the masks of ONNX Runtime.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import caffe_nets
import caffe_reference
import caffe_schema

from segnet_deploy import runtimes
from segnet_deploy.accuracy.expose_indices import write_indexed_model
from segnet_deploy.caffe.convert_caffe import convert_caffe
from segnet_deploy.caffe.net import read_net
from segnet_deploy.errors import SegNetError
from segnet_deploy.runtimes.model_file import load_model
from segnet_deploy.scenes import draw_scene
from segnet_deploy.types import DEFAULT_SIZE


def main() -> int:
    """Print one line for each prototxt; return 1 if one fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--form", default="standard")
    arguments = parser.parse_args()
    failed = False
    columns = ("labels", "flips", "of", "given", "max|d|", "seconds")
    titles = "{:>9} {:>5} {:>8} {:>9} {:>8} {:>7}".format(*columns)
    print(f"{'file':40} {'size':>9} {'classes':>7} {'parameters':>11} {titles}")
    for path in sorted(arguments.folder.glob("*.prototxt")):
        try:
            print(f"{path.name:40} {check(path, arguments.form)}", flush=True)
        except SegNetError as error:
            failed = True
            print(f"{path.name:40} {error}", flush=True)
    return int(failed)


def check(path: Path, form: str) -> str:
    """Return the figures of one prototxt as text."""
    text, net = path.read_text(), read_net(path)
    size = (net.shape[2] or DEFAULT_SIZE[0], net.shape[3] or DEFAULT_SIZE[1])
    weights = caffe_nets.seeded(text, (1, 3, *size))
    frame = draw_scene(3, *size).frame
    x = np.ascontiguousarray(frame.transpose(2, 0, 1)[None], np.float32)
    with tempfile.TemporaryDirectory() as folder:
        model, target = Path(folder) / "net.caffemodel", Path(folder) / "net.onnx"
        model.write_bytes(caffe_schema.caffemodel(weights))
        start = time.perf_counter()
        result = convert_caffe(model, path, target, form)
        seconds = time.perf_counter() - start
        name = str(load_model(target).graph.outputs[0].name)
        indexed, file = write_indexed_model(target, False, Path(folder))
        with runtimes.open(file, "onnxruntime") as engine:
            outputs = engine.run_all(x)
    blobs = caffe_reference.run(text, weights, x)
    pools = [layer for layer in net.layers if layer.type == "Pooling" and len(layer.tops) == 2]
    masks = [
        indexed.plane_index(stage, outputs, blobs[pool.bottoms[0]].shape[2:])
        for stage, pool in enumerate(pools)
    ]
    flips = sum(
        int((mask != blobs[pool.tops[1]]).sum()) for mask, pool in zip(masks, pools, strict=True)
    )
    found, plain = outputs[name], blobs[name]
    given = caffe_reference.run(text, weights, x, masks)[name]
    delta = float(np.abs(found - given).max() / np.abs(given).max())
    return (
        f"{size[0]:>4}x{size[1]:<4} {plain.shape[1]:>7} {result.model.parameters:>11,} "
        f"{_agreement(found, plain):>9.4%} {flips:>5} {sum(m.size for m in masks):>8} "
        f"{_agreement(found, given):>9.4%} {delta:8.0e} {seconds:7.1f}"
    )


def _agreement(a: Any, b: Any) -> float:
    """Return the share of equal labels."""
    return float((a.argmax(1) == b.argmax(1)).mean())


if __name__ == "__main__":
    sys.exit(main())

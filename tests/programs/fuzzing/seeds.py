"""The valid files that the fuzzer mutates: small, and one of each kind that commands read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

from segnet_deploy.metadata import Metadata
from segnet_deploy.passes.to_form import to_form
from segnet_deploy.passes.to_frame_io import to_frame_io
from segnet_deploy.passes.to_precision import to_precision
from segnet_deploy.quant.calibration import calibrate
from segnet_deploy.quant.insert_qdq import insert_qdq

SIZE = (16, 24)
CLASSES = 4
ONNX_KINDS = ("standard", "lowered", "plugin", "frame", "dynamic", "fp16", "int8")
_WINDOW: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}


def network(dynamic: bool = False) -> ir.Model:
    """Return a network with two pool/unpool pairs, a normalisation, a skip and a concatenation."""
    rng = np.random.default_rng(0)
    weights = {
        "a.weight": rng.standard_normal((6, 3, 3, 3)) * 0.3,
        "a.bias": rng.standard_normal(6),
        **{f"norm.{i}": rng.random(6) + 0.5 for i in range(4)},
        "b.weight": rng.standard_normal((6, 6, 3, 3)) * 0.3,
        "c.weight": rng.standard_normal((6, 6, 1, 1)),
        "d.weight": rng.standard_normal((6, 12, 3, 3)) * 0.3,
        "k.weight": rng.standard_normal((CLASSES, 6, 3, 3)) * 0.3,
        "k.bias": rng.standard_normal(CLASSES),
    }
    nodes = [
        h.make_node("Conv", ["image", "a.weight", "a.bias"], ["a"], name="a", pads=[1] * 4),
        h.make_node("BatchNormalization", ["a", *(f"norm.{i}" for i in range(4))], ["n"], name="n"),
        h.make_node("Relu", ["n"], ["r1"], name="r1"),
        h.make_node("MaxPool", ["r1"], ["p1", "i1"], name="pool1", **_WINDOW),
        h.make_node("Conv", ["p1", "b.weight"], ["b"], name="b", pads=[1] * 4),
        h.make_node("LeakyRelu", ["b"], ["r2"], name="r2", alpha=0.1),
        h.make_node("MaxPool", ["r2"], ["p2", "i2"], name="pool2", **_WINDOW),
        h.make_node("Conv", ["p2", "c.weight"], ["c"], name="c"),
        h.make_node("MaxUnpool", ["c", "i2", "size2"], ["u2"], name="unpool2", **_WINDOW),
        h.make_node("Add", ["u2", "r2"], ["s"], name="s"),
        h.make_node("Concat", ["s", "p1"], ["t"], name="t", axis=1),
        h.make_node("Conv", ["t", "d.weight"], ["d"], name="d", pads=[1] * 4),
        h.make_node("Relu", ["d"], ["r3"], name="r3"),
        h.make_node("MaxUnpool", ["r3", "i1", "size1"], ["u1"], name="unpool1", **_WINDOW),
        h.make_node("Conv", ["u1", "k.weight", "k.bias"], ["logits"], name="k", pads=[1] * 4),
    ]
    constants = [numpy_helper.from_array(a.astype(np.float32), name) for name, a in weights.items()]
    if dynamic:
        nodes.insert(3, h.make_node("Shape", ["r1"], ["size1"], name="shape1"))
        nodes.insert(7, h.make_node("Shape", ["r2"], ["size2"], name="shape2"))
    else:
        sizes = {"size1": [1, 6, *SIZE], "size2": [1, 6, SIZE[0] // 2, SIZE[1] // 2]}
        constants += [numpy_helper.from_array(np.array(v), name) for name, v in sizes.items()]
    size: list[Any] = ["n", 3, "h", "w"] if dynamic else [1, 3, *SIZE]
    graph = h.make_graph(
        nodes,
        "net",
        [h.make_tensor_value_info("image", T.FLOAT, size)],
        [h.make_tensor_value_info("logits", T.FLOAT, [size[0], CLASSES, *size[2:]])],
        constants,
    )
    proto = h.make_model(graph, opset_imports=[h.make_opsetid("", 18)], ir_version=9)
    return ir.from_proto(proto)


def onnx_seeds() -> dict[str, onnx.ModelProto]:
    """Return one model of each of ONNX_KINDS."""
    frame = network()
    to_frame_io(frame, (100.0,) * 3, (50.0,) * 3, "rgb")
    rng = np.random.default_rng(1)
    images = [rng.random((1, 3, *SIZE), np.float32) * 255 for _ in range(2)]
    int8 = insert_qdq(network(), calibrate(network(), images, "minmax")).model
    made = {
        "standard": network(),
        "lowered": to_form(network(), "lowered").model,
        "plugin": to_form(network(), "plugin").model,
        "frame": frame,
        "dynamic": network(dynamic=True),
        "fp16": to_precision(network(), "fp16").model,
        "int8": int8,
    }
    names = tuple(f"class {i}" for i in range(CLASSES))
    palette = tuple((40 * i, 255 - 40 * i, 0) for i in range(CLASSES))
    seeds = {}
    for kind, model in made.items():
        metadata = Metadata(
            names,
            palette,
            io="frame" if kind == "frame" else "tensor",
            form=kind if kind in ("lowered", "plugin") else "standard",
            precision=kind if kind in ("fp16", "int8") else "fp32",
            multiple=4,
        )
        model.metadata_props.update(metadata.to_props())
        seeds[kind] = ir.to_proto(model)
    return seeds


def write_seeds(folder: Path) -> None:
    """Write images, a video, a configuration, class lists and an engine with its sidecar."""
    import cv2

    from segnet_deploy.scenes import draw_scene

    (folder / "data/images").mkdir(parents=True)
    (folder / "data/labels").mkdir()
    scene = draw_scene(0, *SIZE)
    for number in range(2):
        cv2.imwrite(str(folder / f"data/images/{number}.png"), scene.frame)
        labels = np.minimum(scene.labels, CLASSES - 1)
        cv2.imwrite(str(folder / f"data/labels/{number}.png"), labels)
    for suffix in (".png", ".jpg", ".bmp", ".tif", ".webp", ".ppm"):
        cv2.imwrite(str(folder / f"frame{suffix}"), scene.frame)
    for name, codec in (("video.mp4", "mp4v"), ("video.avi", "MJPG")):
        size = (4 * SIZE[1], 4 * SIZE[0])
        video = cv2.VideoWriter(str(folder / name), cv2.VideoWriter_fourcc(*codec), 10.0, size)
        for number in range(6):
            video.write(cv2.resize(draw_scene(number, *SIZE).frame, size))
        video.release()
    (folder / "camera.toml").write_text('runtime = "onnxruntime"\nfit = "letterbox"\nfps = 50\n')
    entries = [{"name": f"c{i}", "color": [i, i, i]} for i in range(CLASSES)]
    (folder / "classes.json").write_text(json.dumps(entries))
    (folder / "classes.txt").write_text("road 1 2 3\nsky\nside walk 4 5 6\ncar\n")
    _write_engine(folder / "m.trt")


def _write_engine(path: Path) -> None:
    """Write a file with the header of a TensorRT-RTX plan, and a valid sidecar."""
    plan = b"vtrt" + bytes(20) + bytes([1, 1, 1, 0]) + bytes(4) + b"no engine"
    path.write_bytes(plan)
    shapes = [[1, 3, *SIZE]] * 3
    sidecar = {
        "format": 1,
        "builder": "tensorrt-rtx",
        "version": "1.1.1",
        "targets": ["sm86"],
        "form": "lowered",
        "precision": "fp32",
        "plugin": {"namespace": "segnet", "version": "1", "embedded": False},
        "onnx": "m.onnx",
        "plan_sha256": hashlib.sha256(plan).hexdigest(),
        "profiles": {"image": shapes},
        "ports": [],
        "metadata": Metadata().to_props(),
    }
    path.with_name(path.name + ".json").write_text(json.dumps(sidecar))

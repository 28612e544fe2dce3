"""Build, run and export a Caffe net of a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import caffe_schema
import numpy as np

from segnet_deploy.caffe.build_model import CaffeModel, build_model
from segnet_deploy.caffe.convert_caffe import convert_caffe
from segnet_deploy.caffe.net import read_net
from segnet_deploy.runtimes.model_file import ModelFile, save_model
from segnet_deploy.runtimes.onnxruntime import open_file

SIZE = (13, 18)


def build(text: str, weights: Any, folder: Path, **options: Any) -> CaffeModel:
    path = folder / "net.prototxt"
    path.write_text(text)
    return build_model(read_net(path), weights, **options)


def run(model: CaffeModel, x: Any, folder: Path) -> dict[str, Any]:
    """Run a model in ONNX Runtime's own operators and return every output."""
    file = folder / "net.onnx"
    save_model(model.model, file)
    with open_file(ModelFile.read(file), 1, operators=False) as engine:
        return {name: np.array(value) for name, value in engine.run_all(x).items()}


def export(text: str, weights: Any, folder: Path, form: str = "standard", **options: Any) -> Any:
    (folder / "net.prototxt").write_text(text)
    (folder / "net.caffemodel").write_bytes(caffe_schema.caffemodel(weights))
    files = [folder / name for name in ("net.caffemodel", "net.prototxt", "net.onnx")]
    return convert_caffe(*files, form, **options)

"""Constants for models in ncnn's tests, and how such a model is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import graphs
import numpy as np
import onnx

from segnet_deploy import runtimes


def weight(name: str, *shape: int) -> onnx.TensorProto:
    values = np.random.default_rng(len(name)).standard_normal(shape).astype(np.float32)
    return onnx.numpy_helper.from_array(values / np.float32(values[0].size ** 0.5), name)


def values(name: str, numbers: list[int]) -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(np.array(numbers, np.int64), name)


def run(model: Any, x: Any, tmp_path: Path, runtime: str = "ncnn") -> dict[str, Any]:
    path = tmp_path / "model.onnx"
    path.write_bytes(graphs.ir.to_proto(model).SerializeToString())
    engine = runtimes.open(path, runtime, threads=2)
    assert engine.name == runtime
    outputs = {name: np.array(value) for name, value in engine.run_all(x).items()}
    engine.close()
    return outputs

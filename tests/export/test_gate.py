"""The parity gate: what it refuses and leaves out; and the files that it compares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from small_segnet import ORT, small
from torch import Tensor, nn
from torch.nn import functional as F

from segnet_deploy.accuracy.expose_indices import expose_indices
from segnet_deploy.accuracy.gate_inputs import GateInput, InputMaker
from segnet_deploy.errors import EngineError, ParityError, UnsupportedModelError
from segnet_deploy.passes.lower_unpooling import lower_unpooling
from segnet_deploy.scenes import draw_scene
from segnet_export import Trace, export, trace, write
from segnet_export.parity.gate import gate, gate_reduced
from segnet_export.parity.report import GateRow


@pytest.fixture(scope="module")
def fixed_trace() -> Trace:
    return trace(small(), torch.zeros(1, 3, 32, 48))


def _write(model: ir.Model, path: Path) -> Path:
    ir.save(model, path)
    return path


def _inputs() -> list[GateInput]:
    x = torch.randn(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    return [GateInput("natural", x.numpy(), x.numpy())]


@pytest.fixture(scope="module")
def exported(fixed_trace: Trace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gate") / "m.onnx"
    write(fixed_trace, path, form="lowered", **ORT)
    return path


def test_gate_refuses_other_weights(exported: Path) -> None:
    with pytest.raises(ParityError, match="does not agree"):
        gate(exported, small(seed=1), _inputs())


def test_gate_refuses_the_last_maximum(exported: Path, tmp_path: Path) -> None:
    """PyTorch picks the first of tied maxima; a file that picks the last differs on flat images."""
    model = ir.load(exported)
    for node in model.graph:
        if node.op_type == "GreaterOrEqual":
            node.op_type = "Greater"
    path = _write(model, tmp_path / "last.onnx")
    flat = torch.zeros(1, 3, 32, 48)
    with pytest.raises(ParityError):
        gate(path, small(), [GateInput("natural", flat.numpy(), flat.numpy())], **ORT)


def test_gate_refuses_swapped_masks(exported: Path, tmp_path: Path) -> None:
    model = ir.load(exported)
    concat = next(n for n in model.graph if n.op_type == "Concat" and len(n.inputs) == 4)
    first, second = concat.inputs[0], concat.inputs[1]
    concat.replace_input_with(0, second)
    concat.replace_input_with(1, first)
    with pytest.raises(ParityError):
        gate(_write(model, tmp_path / "swapped.onnx"), small(), _inputs(), **ORT)


def test_gate_refuses_indices_outside_their_windows(exported: Path, tmp_path: Path) -> None:
    model = ir.load(exported)
    for value in [v for n in model.graph for v in n.outputs]:
        if value.name == "segnet.mask.0.0":
            value.name = "segnet.mask.0.9"  # sorts after the others: codes shift by one
    with pytest.raises(ParityError):
        gate(_write(model, tmp_path / "shifted.onnx"), small(), _inputs(), **ORT)


def test_gate_refuses_labels_that_differ_from_the_logits(
    fixed_trace: Trace, tmp_path: Path
) -> None:
    write(fixed_trace, tmp_path / "m.onnx", io="frame", **ORT)
    model = ir.load(tmp_path / "m.onnx")
    next(n for n in model.graph if n.op_type == "ArgMax").op_type = "ArgMin"
    path = _write(model, tmp_path / "argmin.onnx")
    frame = torch.randint(0, 256, (1, 32, 48, 3), dtype=torch.uint8)
    item = GateInput("natural", frame.numpy(), frame.permute(0, 3, 1, 2).float().numpy())
    gate(tmp_path / "m.onnx", small(), [item], **ORT)
    with pytest.raises(ParityError, match="with the same indices labels"):
        gate(path, small(), [item], **ORT)


def _multiply_logits(exported: Path, op_type: str, domain: str, target: Path) -> Path:
    """Multiply the logits by 1, computed by `op_type` from an identity matrix; return `target`."""
    model = onnx.load(exported)
    logits = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = ["inner" if name == logits else name for name in node.output]
    one = onnx.numpy_helper.from_array(np.eye(2, dtype=np.float32), "one")
    model.graph.initializer.append(one)
    make = onnx.helper.make_node
    model.graph.node.append(make(op_type, ["one"], ["factor"], domain=domain))
    model.graph.node.append(make("Mul", ["inner", "factor"], [logits]))
    if domain:
        model.opset_import.append(onnx.helper.make_opsetid(domain, 1))
    onnx.save(model, target)
    return target


@pytest.mark.needs("openvino")
def test_gate_leaves_out_a_runtime_that_rejects_the_file(exported: Path, tmp_path: Path) -> None:
    path = _multiply_logits(exported, "Det", "", tmp_path / "det.onnx")
    messages: list[str] = []
    report = gate(path, small(), _inputs(), progress=lambda text, *_: messages.append(text))
    assert {row.runtime for row in report.rows} == {"onnxruntime"}
    assert any(line.startswith("left out: openvino") for line in messages)
    with pytest.raises(EngineError, match="openvino"):
        gate(path, small(), _inputs(), runtimes=["openvino"])


def test_gate_refuses_a_file_that_no_runtime_runs(exported: Path, tmp_path: Path) -> None:
    path = _multiply_logits(exported, "Unknown", "test.unknown", tmp_path / "unknown.onnx")
    with pytest.raises(ParityError, match="no installed runtime runs"):
        gate(path, small(), _inputs())


def test_failed_gate_leaves_no_file(tmp_path: Path) -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = small()

        def forward(self, x: Tensor) -> Tensor:
            return self.net(F.dropout(x, 0.5, training=True))  # type: ignore[no-any-return]

    with pytest.raises((ParityError, UnsupportedModelError)):
        export(Noisy(), torch.zeros(1, 3, 32, 48), tmp_path / "m.onnx", **ORT)
    assert list(tmp_path.iterdir()) == []


def test_exposed_indices_are_those_of_pytorch(exported: Path) -> None:
    found = expose_indices(exported, lowered=False)
    session = onnxruntime.InferenceSession(ir.to_proto(found.model).SerializeToString())
    x = _inputs()[0].x
    names = [o.name for o in session.get_outputs()]
    outputs = dict(zip(names, session.run(None, {"image": x}), strict=True))
    net = small()
    with torch.no_grad():
        y = net.units[1](net.units[0](torch.from_numpy(x)))
    index = F.max_pool2d(y, 2, 2, return_indices=True)[1].numpy()
    assert (found.plane_index(0, outputs, (32, 48)) == index).mean() > 0.999


def test_lowered_file_is_the_standard_file_lowered(
    exported: Path, fixed_trace: Trace, tmp_path: Path
) -> None:
    path = tmp_path / "standard.onnx"
    write(fixed_trace, path, **ORT)
    model = lower_unpooling(ir.load(path)).model
    x = _inputs()[0].feed
    results = []
    for data in (ir.to_proto(model).SerializeToString(), exported.read_bytes()):
        session = onnxruntime.InferenceSession(data)
        results.append(session.run(None, {"image": x})[0])
    assert np.array_equal(*results)


def test_reduced_file_is_judged_by_the_mean_over_images(
    exported: Path,
) -> None:
    """One image below the limit and one above it."""
    images = [draw_scene(seed, 32, 48).frame for seed in range(2)]
    inputs = InputMaker(3, (0, 0, 0), (1, 1, 1), "bgr", "tensor", images).make([(1, 32, 48)])
    other = small(seed=1)
    shares = [row.agreement for row in _rows(exported, other, inputs, 0.0)]
    assert len(set(shares)) == 2
    mean = sum(shares) / 2
    assert len(_rows(exported, other, inputs, mean - 1e-6)) == 2
    with pytest.raises(ParityError, match=r"2 inputs in onnxruntime \(weight rounding only, limit"):
        _rows(exported, other, inputs, mean + 1e-6)


def _rows(path: Path, module: nn.Module, inputs: list[GateInput], limit: float) -> list[GateRow]:
    report = gate_reduced(path, module, inputs, ["onnxruntime"], limit, precision="bf16")
    return list(report.rows)

"""Files that sample dropout, exported from PyTorch: the gate, statistics, options and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from small_segnet import ORT, small
from torch import Tensor, nn
from torch.nn import functional as F

from segnet_deploy import load
from segnet_deploy.errors import InputError, ParityError, UnsupportedModelError
from segnet_deploy.passes.graph import infer_shapes
from segnet_deploy.passes.sampling_names import MAPS, SAMPLES
from segnet_export import SegNetBasic, Trace, export, place_dropout, trace, write
from segnet_export.cli import main
from segnet_export.parity import compare
from segnet_export.parity.sampling import SampledModule, sample_statistics


@pytest.fixture(scope="module")
def sampled() -> Trace:
    net = small()
    place_dropout(net, "bayesian")
    return trace(net, torch.zeros(1, 3, 45, 61), mc_dropout=3, std=(60, 60, 60))


@pytest.mark.parametrize(
    "options",
    [
        {"form": "standard"},
        {"form": "lowered", "io": "frame"},
        {"form": "plugin"},
    ],
    ids=["standard", "frame", "plugin"],
)
def test_file_equals_pytorch_with_the_same_masks(
    options: dict[str, Any], sampled: Trace, tmp_path: Path
) -> None:
    result = write(sampled, tmp_path / "m.onnx", **options)
    assert result.gate.passed
    assert (result.metadata.samples, result.metadata.dropout) == (3, (0.5,) * 6)
    row = result.gate.rows[0]
    assert [output.name for output in row.outputs] == [*MAPS, SAMPLES]
    assert max(output.delta_given_indices for output in row.outputs[:-1]) < 1e-5
    with load(tmp_path / "m.onnx", "onnxruntime") as segmenter:
        frame = np.random.default_rng(0).integers(0, 256, (45, 61, 3)).astype(np.uint8)
        labels, uncertainty = segmenter.segment_with_uncertainty(frame)
        assert segmenter.engine.masks is not None
        segmenter.engine.masks.frame = 0
        np.testing.assert_array_equal(labels, segmenter.segment(frame))
    assert uncertainty.shape == labels.shape == (45, 61)
    assert uncertainty.dtype == np.float32
    assert uncertainty.max() > 1e-3


def test_convolutions_before_the_first_dropout_run_once(sampled: Trace, tmp_path: Path) -> None:
    write(sampled, tmp_path / "m.onnx", **ORT)
    graph = infer_shapes(ir.load(tmp_path / "m.onnx")).graph
    batches = [node.outputs[0].shape[0] for node in graph if node.op_type == "Conv"]
    assert batches == [1] * 7 + [3] * 19  # conv1_1 to conv3_3, then the rest


def test_mean_and_variance_agree_with_other_masks_within_the_monte_carlo_error(
    tmp_path: Path,
) -> None:
    count, net = 200, SegNetBasic(4, width=4, dropout=True)
    torch.manual_seed(0)
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    path = tmp_path / "m.onnx"
    export(net.eval(), torch.zeros(1, 3, 16, 24), path, mc_dropout=count, adversarial=False, **ORT)
    x = torch.randn(1, 3, 16, 24, generator=torch.Generator().manual_seed(1))
    with load(path, "onnxruntime") as segmenter:
        found = segmenter.engine.run_all(x.numpy())
    torch.manual_seed(2)
    net.train()  # PyTorch's own dropout, but the statistics of the normalisations
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()
    with torch.no_grad():
        p = net(x.repeat(count, 1, 1, 1)).softmax(1).double()
    mean, deviation = p.mean(0), p.std(0)
    error = 2**0.5 * deviation / count**0.5  # of the difference of two means
    far = np.abs(found["probabilities"][0] - mean.numpy()) > 4 * error.numpy() + 1e-6
    assert far.mean() < 1e-3
    fourth = ((p - mean) ** 4).mean(0)
    spread = ((fourth - deviation**4).clamp_min(0) / count) ** 0.5  # of one variance
    limit = (2**0.5 * spread).mean(0).numpy()  # the errors of the classes hardly cancel
    difference = np.abs(found["uncertainty"][0] - p.var(0, unbiased=False).mean(0).numpy())
    assert (difference > 4 * limit + 1e-6).mean() < 1e-2
    assert float(deviation.mean()) > 1e-2


class Heads(nn.Module):
    """Drops elements and channels; returns probabilities, and a map for which both matter."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 4, 3, padding=1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = F.relu(self.a(x))
        y, index = F.max_pool2d(F.dropout2d(x, 0.25, self.training), 2, 2, return_indices=True)
        y = F.dropout(y, 0.1, self.training)
        z = F.max_unpool2d(y, index, [2, 2], [2, 2], output_size=list(x.shape[2:]))
        logits = self.b(torch.cat([z, x], 1)[:, :6])
        return {"out": logits.softmax(1), "depth": logits.mean(1, keepdim=True), "edges": x[:, :1]}


def test_any_module_keeps_its_own_dropout_and_outputs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Heads()
    result = export(net, torch.zeros(1, 3, 22, 18), tmp_path / "m.onnx", mc_dropout=2)
    assert result.metadata.dropout == (0.25, 0.1)
    inputs = {i.name: i for i in onnx.load(tmp_path / "m.onnx").graph.input}
    sizes = [
        [d.dim_value for d in inputs[f"dropout_mask_{i}"].type.tensor_type.shape.dim]
        for i in (0, 1)
    ]
    assert sizes == [[2, 6, 1, 1], [2, 6, 11, 9]]
    with load(tmp_path / "m.onnx", "onnxruntime") as segmenter:
        outputs = segmenter.run(np.full((22, 18, 3), 99, np.uint8))
    assert list(outputs) == ["probabilities", *MAPS, "depth", "edges", "labels"]
    assert net.training


def test_gate_finds_exchanged_masks(
    sampled: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Exchanged(SampledModule):
        def __init__(self, module: nn.Module, masks: list[Any]):
            super().__init__(module, masks)
            self.masks[0] = self.masks[0].flip(0)

    monkeypatch.setattr(compare, "SampledModule", Exchanged)
    with pytest.raises(ParityError, match=SAMPLES):
        write(sampled, tmp_path / "m.onnx", **ORT)
    assert list(tmp_path.iterdir()) == []


def test_fp16_file_passes_both_gates(sampled: Trace, tmp_path: Path) -> None:
    options = {"form": "lowered", "precision": "fp16", "min_reduced": 0.95}
    result = write(sampled, tmp_path / "m.onnx", **options, **ORT)
    reduced = result.gate.rows[-1]
    assert reduced.input == "weight rounding only"
    assert all(output.kept > 0.99 for output in reduced.outputs)


def test_sample_statistics_of_two_opposite_samples() -> None:
    log_p = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).clamp_min(1e-30).log().reshape(2, 2, 1, 1)
    mean, variance, entropy, information, confidence = sample_statistics(log_p)
    assert mean.flatten().tolist() == [0.5, 0.5]
    assert [round(float(v), 6) for v in (variance, entropy, information, confidence)] == [
        *(0.25, round(np.log(2), 6), round(np.log(2), 6), 0.5)
    ]


@pytest.mark.parametrize(
    ("network", "options", "kind", "message"),
    [
        ("plain", {}, UnsupportedModelError, "--dropout bayesian"),
        ("bayesian", {"mc_dropout": 0x7FFFFFFF}, InputError, "2147483647 samples"),
        ("bayesian", {"dynamic": "size"}, InputError, "static size"),
    ],
)
def test_what_cannot_be_sampled_is_refused(
    network: str, options: dict[str, Any], kind: type[Exception], message: str, tmp_path: Path
) -> None:
    net = small()
    if network == "bayesian":
        place_dropout(net, network)
    with pytest.raises(kind, match=message):
        export(net, torch.zeros(1, 3, 32, 32), tmp_path / "m.onnx", **{"mc_dropout": 4} | options)
    assert list(tmp_path.iterdir()) == []


def test_dropout_has_places_in_segnets_only() -> None:
    with pytest.raises(UnsupportedModelError, match="no places in a Heads"):
        place_dropout(Heads(), "bayesian")
    with pytest.raises(InputError, match="expected bayesian or pascal"):
        place_dropout(small(), "everywhere")


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (["--mc-dropout", "0"], 2, "--mc-dropout 0; expected 1 to 1000"),
        (["--dropout", "bayesian"], 2, "--dropout requires --mc-dropout"),
        (["--mc-dropout", "--batch", "2"], 2, "one image of static size"),
        (["--mc-dropout", "--imgsz", "32", "48"], 1, "no dropout to sample; --dropout bayesian"),
    ],
)
def test_command_explains_in_one_line(
    flags: list[str],
    status: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(small().state_dict(), "model.pt")
    assert main(["model.pt", *flags]) == status
    errors = [line for line in capsys.readouterr().err.splitlines() if message in line]
    assert len(errors) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_command_places_dropout_and_samples(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(small().state_dict(), tmp_path / "model.pt")
    flags = ["--dropout", "bayesian", "--mc-dropout", "2", "--imgsz", "32", "48"]
    assert main([str(tmp_path / "model.pt"), "-o", str(tmp_path / "model.onnx"), *flags]) == 0
    assert "2 samples" in capsys.readouterr().out
    with load(tmp_path / "model.onnx", "onnxruntime") as segmenter:
        assert segmenter.metadata.samples == 2

"""The compared networks: the paper's sizes, and the parity gate at small width."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from segnet_deploy.bench.paper import TABLE_1, TABLE_6, Table1Row, Table6Row
from segnet_deploy.errors import InputError
from segnet_deploy.passes.unpooling_pairs import find_pairs
from segnet_deploy.runtimes.model_file import load_model
from segnet_export import cli
from segnet_export.exporter import export
from segnet_export.models import ARCHITECTURES, create

TITLES = {architecture.title: name for name, architecture in ARCHITECTURES.items()}


def parameters(name: str, num_classes: int) -> int:
    architecture = ARCHITECTURES[name]
    with torch.device("meta"):
        module = architecture.build(num_classes, 64, architecture.size)
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("row", TABLE_6, ids=lambda row: row.network)
def test_model_sizes_are_those_of_table_6_at_37_classes(row: Table6Row) -> None:
    size = 4 * parameters(TITLES[row.network], 37)
    # The paper truncates: 117.9 is printed as 117.
    assert row.model_bytes <= size < row.model_bytes + 1_000_000


@pytest.mark.parametrize("row", TABLE_1, ids=lambda row: row.network)
def test_parameters_are_those_of_table_1(row: Table1Row) -> None:
    # The paper rounds each 7x7 layer to 0.2 M and each 8x8 one to 0.25 M.
    assert parameters(TITLES[row.network], 11) == pytest.approx(row.parameters, rel=0.025)


@pytest.mark.parametrize(
    ("name", "num_classes", "count"),
    [
        ("deconvnet", 11, 219_280_715),
        ("deconvnet-original", 21, 251_805_653),
        ("unet", 11, 31_032_395),
    ],
)
def test_parameters_are_as_published(name: str, num_classes: int, count: int) -> None:
    assert parameters(name, num_classes) == count


GATED = (
    *("fcn-8s", "deeplab-largefov", "deconvnet", "unet", "segnet-basic-encoder-addition"),
    "bilinear-interpolation",
)


@pytest.mark.parametrize("name", GATED)
def test_network_passes_the_gate(name: str, tmp_path: Path) -> None:
    size = (37, 45)
    module = create(name, 5, width=4, size=size)
    path = tmp_path / "net.onnx"
    result = export(module, torch.zeros(1, 3, *size), path, mean=(110.0,) * 3, std=(60.0,) * 3)
    assert result.gate.passed
    unpools = {"deconvnet": 5, "segnet-basic-encoder-addition": 4}.get(name, 0)
    assert result.pairs == unpools == len(find_pairs(load_model(path).graph))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_weights_keep_the_magnitude_of_activations(name: str) -> None:
    size = (224, 224) if name == "deconvnet-original" else (64, 96)
    with torch.no_grad():
        y = create(name, 5, width=4, size=size)(torch.randn(1, 3, *size))
    assert y.shape == (1, 5, *size)
    assert 1e-3 < float(y.std()) < 1e3


def test_weights_depend_on_the_seed_only() -> None:
    first, again, other = (create("fcn-8s", 3, width=2, seed=s) for s in (1, 1, 2))
    assert torch.equal(first.score.weight, again.score.weight)
    assert not torch.equal(first.score.weight, other.score.weight)


def test_unknown_network_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="deeplab-largefov"):
        create("resnet", 3)


def test_original_deconvnet_refuses_small_images() -> None:
    with pytest.raises(InputError, match="224x224"):
        create("deconvnet-original", 3, width=2, size=(96, 96))


def test_arch_option_writes_a_gated_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "net.onnx"
    arguments = ["--arch", "fcn-basic", "--num-classes", "4", "--imgsz", "32", "48"]
    assert cli.main([*arguments, "-o", str(out)]) == 0
    captured = capsys.readouterr()
    assert "gate passed" in captured.out
    assert "random weights from seed 0" in captured.err
    assert load_model(out).metadata_props["segnet.network"] == '"fcn-basic"'


def test_arch_option_loads_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "m.pt", tmp_path / "m.onnx"
    torch.save(create("fcn-basic", 4, seed=3).state_dict(), path)
    arguments = [str(path), "--arch", "fcn-basic", "--imgsz", "32", "48", "-o", str(out)]
    assert cli.main([*arguments, "--num-classes", "4"]) == 0
    assert cli.main(arguments) == 1
    assert "does not fit --arch fcn-basic with 11 classes" in capsys.readouterr().err

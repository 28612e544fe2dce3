"""Exported files: graphs, metadata and options."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import onnx
import pytest
import torch
from small_segnet import ORT, small
from torch import Tensor, nn
from torch.nn import functional as F

from segnet_deploy.errors import InputError, ParityError, UnsupportedModelError
from segnet_deploy.metadata import Metadata
from segnet_deploy.passes import contract
from segnet_export import (
    ExportOptions,
    GateOptions,
    SegNet,
    SegNetBasic,
    SegNetConfig,
    Trace,
    export,
    trace,
    write,
)
from segnet_export.export_options import ExportKeywords, GateKeywords


@pytest.fixture(scope="module")
def fixed_trace() -> Trace:
    return trace(small(), torch.zeros(1, 3, 32, 48))


@pytest.fixture(scope="module")
def odd_trace() -> Trace:
    return trace(small(), torch.zeros(1, 3, 45, 60))


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(path).graph.node]


def test_standard_file_has_only_standard_operators(odd_trace: Trace, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    result = write(odd_trace, path)
    found = operators(path)
    assert result.pairs == 5
    assert found.count("MaxPool") == found.count("MaxUnpool") == 5
    assert set(found) <= {"Conv", "Relu", "Pad", "MaxPool", "MaxUnpool", "Slice"}  # BN folded
    assert found.count("Conv") == 26
    assert onnx.load(path).opset_import[0].version >= 20
    onnx.checker.check_model(onnx.load(path), full_check=True)


@pytest.fixture(scope="module", params=["batch", "size"])
def dynamic_trace(request: pytest.FixtureRequest) -> Trace:
    normalisation = {"mean": (1, 2, 3), "std": (60, 50, 40), "channel_order": "rgb"}
    return trace(small(), torch.zeros(1, 3, 33, 43), dynamic=request.param, **normalisation)


@pytest.mark.parametrize("form", ["standard", "lowered", "plugin"])
@pytest.mark.parametrize("io", ["tensor", "frame"])
def test_every_form_and_io_passes_its_gate(
    form: str, io: str, dynamic_trace: Trace, tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    dynamic = dynamic_trace.options.dynamic
    result = write(dynamic_trace, path, form=form, io=io)
    assert (result.metadata.form, result.metadata.io) == (form, io)
    assert result.gate.passed
    shapes = {row.shape for row in result.gate.rows}
    assert len(shapes) == (3 if dynamic == "size" else 2)
    assert {shape[0] for shape in shapes} == {1, 3}
    if dynamic == "size":
        assert len({shape[1:] for shape in shapes}) == 3
    if form == "plugin":
        assert contract.DOMAIN in {o.domain for o in onnx.load(path).opset_import}


def test_dynamic_axes_are_fixed_by_the_trace(fixed_trace: Trace, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dynamic cannot change"):
        write(fixed_trace, tmp_path / "m.onnx", dynamic="size")


@pytest.mark.parametrize("keep_size", [True, False])
def test_floor_networks_export(keep_size: bool, tmp_path: Path) -> None:
    net = small(ceil_mode=False, keep_size=keep_size)
    size = (45, 61) if keep_size else (64, 32)
    result = export(net, torch.zeros(2, 3, *size), tmp_path / "m.onnx", dynamic="size")
    assert result.metadata.multiple == (1 if keep_size else 32)
    if not keep_size:
        with pytest.raises(InputError, match="multiples of 32"):
            export(net, torch.zeros(1, 3, 45, 61), tmp_path / "n.onnx")
        assert not (tmp_path / "n.onnx").exists()


def test_basic_exports(tmp_path: Path) -> None:
    torch.manual_seed(0)
    result = export(SegNetBasic(4, width=6), torch.zeros(1, 3, 45, 37), tmp_path / "m.onnx", **ORT)
    assert result.pairs == 4


class Odd(nn.Module):
    """A user's own network: one input channel, a tuple out, dropout, an unpooled skip sum."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 4, 3, padding=1)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu(self.a(x))
        y, index = F.max_pool2d(x, 2, 2, return_indices=True)
        z = F.max_unpool2d(self.drop(y), index, [2, 2], [2, 2], output_size=list(x.shape[2:]))
        logits = self.b(z + x)
        return logits, logits.softmax(1)


def test_any_module_with_pairs_exports_and_keeps_its_mode(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Odd()
    net.train()
    result = export(net, torch.zeros(1, 1, 21, 18), tmp_path / "m.onnx", form="lowered")
    assert result.pairs == 1
    assert net.training
    assert net.drop.training


def test_metadata_is_recorded_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    torch.manual_seed(0)
    net = SegNet(SegNetConfig.standard(11, width=4))
    export(
        net,
        torch.zeros(1, 3, 32, 32),
        path,
        mean=(104.0, 117.0, 123.0),
        std=(58.0, 58.0, 58.0),
        channel_order="rgb",
        classes="camvid",
        source_sha256="abc",
        **ORT,
    )
    data = Metadata.from_props({p.key: p.value for p in onnx.load(path).metadata_props})
    assert data.classes[0] == "Sky"
    assert data.palette[3] == (128, 64, 128)
    assert (data.mean, data.channel_order) == ((104.0, 117.0, 123.0), "rgb")
    assert (data.source_sha256, data.form, data.io) == ("abc", "standard", "tensor")
    assert data.versions["torch"].startswith("2.")


@pytest.mark.parametrize("io", ["tensor", "frame"])
def test_fp16_file_passes_both_gates(io: str, odd_trace: Trace, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    options = {"form": "lowered", "precision": "fp16", "io": io, "std": (60, 60, 60)}
    # Random weights keep fewer labels than trained ones, fewest where a CPU computes in fp16.
    result = write(odd_trace, path, min_reduced=0.9, **options)
    assert result.metadata.precision == "fp16"
    assert any(row.input == "weight rounding only" for row in result.gate.rows)  # on a CPU
    data = onnx.load(path)
    weights = {t.data_type for t in data.graph.initializer if t.name.endswith("weight_float16")}
    assert weights == {onnx.TensorProto.FLOAT16}
    assert Metadata.from_props({p.key: p.value for p in data.metadata_props}).precision == "fp16"


def test_reduced_file_that_keeps_too_few_labels_is_not_written(
    odd_trace: Trace, tmp_path: Path
) -> None:
    options = {"form": "lowered", "precision": "fp16", "min_reduced": 1.01, **ORT}
    with pytest.raises(ParityError, match="keeps only"):
        write(odd_trace, tmp_path / "m.onnx", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "dense"}, "dense"),
        ({"io": "video"}, "video"),
        ({"dynamic": "all"}, "all"),
        ({"opset": 12}, "opset 12"),
        ({"classes": "camvid"}, "11 classes but the model has 5"),
        ({"std": (0.0, 1.0, 1.0)}, "std"),
    ],
)
def test_invalid_options_leave_no_file(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        export(small(), torch.zeros(1, 3, 32, 32), tmp_path / "m.onnx", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (3, 32, 32), (1, 3, 0, 32)])
def test_invalid_sizes_are_reported(shape: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected|needs"):
        export(small(), torch.zeros(shape), tmp_path / "m.onnx")


def test_classifier_is_not_a_segmentation_model(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(UnsupportedModelError, match="expected logits"):
        export(net, torch.zeros(1, 3, 32, 32), tmp_path / "m.onnx")


class Misfit(nn.Module):
    """Unpools to a size that 2x2 windows cannot produce, which torch refuses with a ValueError."""

    def forward(self, x: Tensor) -> Tensor:
        y, index = F.max_pool2d(x, 2, 2, return_indices=True)
        return F.max_unpool2d(y, index, [2, 2], [2, 2], output_size=[99, 99])


@pytest.mark.parametrize("module", [Misfit(), nn.Bilinear(3, 3, 3)])
def test_module_that_does_not_run_is_reported_in_one_line(module: nn.Module) -> None:
    with pytest.raises(InputError, match=r"does not run at 32x48 with 3 channels: .+"):
        trace(module, torch.zeros(1, 3, 32, 48))


@pytest.mark.parametrize(
    ("options", "keywords"), [(ExportOptions, ExportKeywords), (GateOptions, GateKeywords)]
)
def test_keywords_are_the_fields_of_the_options(options: type, keywords: type) -> None:
    assert list(keywords.__annotations__) == [field.name for field in fields(options)]
    assert get_type_hints(keywords) == get_type_hints(options)


def test_unknown_keyword_is_refused() -> None:
    with pytest.raises(TypeError, match="shape"):
        export(small(), torch.zeros(1, 3, 32, 48), shape="lowered")  # type: ignore[call-arg]


def test_missing_torch_names_the_extra() -> None:
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "import segnet_export\n"
        "from segnet_deploy import MissingDependencyError\n"
        "try:\n    segnet_export.export\n"
        "except MissingDependencyError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "segnet-deploy[export]"' in done.stdout

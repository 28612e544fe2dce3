"""Networks that use pooling indices in other ways than SegNet, and wrong files of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx_ir as ir
import pytest
import torch
from pooling_nets import SmallENet, TwoDecoders, TwoStreams, Windows, seeded, steep_attention
from small_segnet import ORT

from segnet_deploy import quantise, runtimes
from segnet_deploy.accuracy.gate_inputs import GateInput, InputMaker
from segnet_deploy.errors import EngineError, ParityError, UnsupportedModelError
from segnet_deploy.passes import contract
from segnet_deploy.runtimes.model_file import load_model
from segnet_deploy.scenes import draw_scene
from segnet_export import Trace, trace, write
from segnet_export.parity.gate import gate


def natural(*size: int) -> list[GateInput]:
    return [InputMaker(3, (0, 0, 0), (1, 1, 1), "bgr", "tensor").natural((1, size[0], size[1]))]


def checked(result: Any) -> set[str]:
    return {row.runtime for row in result.gate.rows}


@pytest.fixture(scope="module")
def two_decoders() -> Trace:
    return trace(seeded(TwoDecoders()), torch.zeros(1, 3, 21, 27))


@pytest.mark.parametrize("form", ["standard", "lowered", "plugin"])
def test_one_pool_serves_several_unpoolings(form: str, two_decoders: Trace, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    result = write(two_decoders, path, form=form)
    assert result.pairs == 2
    lacking = set() if form == "standard" else {"ncnn"}  # the gate lowers the plugin form
    assert checked(result) == set(runtimes.installed()) - lacking
    names = [node.op_type for node in load_model(path).graph]
    if form == "plugin":  # the codes are computed once
        assert (names.count(contract.POOL), names.count(contract.UNPOOL)) == (2, 4)
    elif form == "standard":
        assert (names.count("MaxPool"), names.count("MaxUnpool")) == (2, 4)


@pytest.mark.needs("ncnn")
def test_one_pool_with_several_unpoolings_in_plugin_form_in_ncnn(
    two_decoders: Trace, tmp_path: Path
) -> None:
    write(two_decoders, tmp_path / "m.onnx", form="plugin", **ORT)
    x = natural(21, 27)[0].x
    with torch.no_grad():
        expected = two_decoders.module(torch.from_numpy(x))
    with runtimes.open(tmp_path / "m.onnx", "ncnn") as engine:
        found = engine.run_all(x)
    for value, array in zip(expected, found.values(), strict=True):
        np.testing.assert_allclose(array, value, atol=1e-4 * float(value.abs().max()))


@pytest.mark.parametrize("ceil_mode", [True, False])
def test_pools_that_run_twice_are_one_stage(ceil_mode: bool, tmp_path: Path) -> None:
    """An encoder that is called for each task: torch's exporter merges the equal calculations."""
    net = seeded(TwoDecoders(calls=2, ceil_mode=ceil_mode))
    result = write(trace(net, torch.zeros(1, 3, 21, 27)), tmp_path / "m.onnx", **ORT)
    assert result.pairs == 2


def test_two_decoders_of_dynamic_size_and_batch(tmp_path: Path) -> None:
    traced = trace(seeded(TwoDecoders(calls=2)), torch.zeros(1, 3, 21, 27), dynamic="size")
    for form in ("standard", "plugin"):
        result = write(traced, tmp_path / "m.onnx", form=form)
        assert checked(result) >= set(runtimes.installed()) - {"ncnn"}
        assert {row.shape[0] for row in result.gate.rows} == {1, 3}


def test_two_decoders_in_int8_in_every_runtime(two_decoders: Trace, tmp_path: Path) -> None:
    write(two_decoders, tmp_path / "fp32.onnx", **ORT)
    for seed in range(4):
        cv2.imwrite(str(tmp_path / f"{seed}.png"), draw_scene(seed, 42, 54).frame)
    for form in ("standard", "plugin"):
        target = tmp_path / f"{form}.onnx"
        result = quantise(tmp_path / "fp32.onnx", target, tmp_path, form=form, min_agreement=0.8)
        assert {row.runtime for row in result.agreement} == set(runtimes.installed())


@pytest.mark.parametrize("form", ["standard", "lowered", "plugin"])
def test_gate_refuses_an_unpooling_with_the_other_pools_indices(form: str, tmp_path: Path) -> None:
    traced = trace(seeded(TwoStreams()), torch.zeros(1, 3, 20, 26))
    path = tmp_path / "m.onnx"
    write(traced, path, form=form, **ORT)
    model = ir.load(path)
    kinds = {"standard": "MaxUnpool", "lowered": "Where", "plugin": contract.UNPOOL}
    users = [node for node in model.graph if node.op_type == kinds[form]]
    place = 0 if form == "lowered" else 1  # the mask of a Where, the index of an unpooling
    half = len(users) // 2
    for one, other in zip(users[:half], users[half:], strict=True):
        indices = one.inputs[place], other.inputs[place]
        assert indices[0] is not indices[1]
        other.replace_input_with(place, indices[0])
    ir.save(model, tmp_path / "wrong.onnx")
    gate(path, traced.module, natural(20, 26), **ORT)
    with pytest.raises(ParityError, match=r"with the same indices|the file has 1"):
        gate(tmp_path / "wrong.onnx", traced.module, natural(20, 26), **ORT)


@pytest.fixture(scope="module")
def attention() -> Trace:
    return trace(steep_attention(), torch.zeros(1, 3, 64, 96))


@pytest.fixture(scope="module")
def attention_file(attention: Trace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("attention") / "m.onnx"
    result = write(attention, path)
    assert checked(result) == set(runtimes.installed())
    assert result.pairs == 5
    # Its correct file differs from PyTorch by more than the fixed limit of 1e-4.
    assert any(row.rounding > 1e-5 for row in result.gate.rows)
    return path


def test_gate_refuses_attention_with_another_upsampling(
    attention: Trace, attention_file: Path, tmp_path: Path
) -> None:
    model = ir.load(attention_file)
    resize = next(node for node in model.graph if node.op_type == "Resize")
    name = "coordinate_transformation_mode"
    resize.attributes[name] = ir.AttrString(name, "half_pixel")
    ir.save(model, tmp_path / "wrong.onnx")
    with pytest.raises(ParityError, match="with the same indices"):
        gate(tmp_path / "wrong.onnx", attention.module, natural(64, 96), **ORT)


def test_gate_refuses_attention_with_the_indices_of_an_ignored_pool(
    attention: Trace, attention_file: Path, tmp_path: Path
) -> None:
    model = ir.load(attention_file)
    pools = [node for node in model.graph if node.op_type == "MaxPool"]
    used = next(node for node in pools if len(node.outputs) == 2)
    ignored = next(node for node in pools if len(node.outputs) == 1)
    assert used.outputs[0].shape == ignored.outputs[0].shape
    ignored.resize_outputs(2)
    ignored.outputs[1].name, ignored.outputs[1].type = "other_index", used.outputs[1].type
    unpool = next(use.node for use in used.outputs[1].uses())
    unpool.replace_input_with(1, ignored.outputs[1])
    model.graph.sort()
    ir.save(model, tmp_path / "wrong.onnx")
    with pytest.raises(ParityError, match="an index is outside its window"):
        gate(tmp_path / "wrong.onnx", attention.module, natural(64, 96), **ORT)


def test_module_that_cannot_run_in_float64_keeps_the_fixed_limit(
    attention: Trace, attention_file: Path
) -> None:
    class Single(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            if x.dtype == torch.float64:
                raise TypeError("float32 only")
            return attention.module(x)

    inputs = InputMaker(3, (0, 0, 0), (1, 1, 1), "bgr", "tensor").make([(1, 64, 96)])
    with pytest.raises(ParityError, match="with the same indices"):
        gate(attention_file, Single(), inputs, **ORT)


def test_values_are_within_rounding_of_pytorch(attention: Trace, attention_file: Path) -> None:
    item = natural(64, 96)[0]
    with torch.no_grad():
        expected = attention.module(torch.from_numpy(item.x))
    with runtimes.open(attention_file, "onnxruntime") as engine:
        found = engine.run_all(item.feed)
    for value, array in zip(expected, found.values(), strict=True):
        assert float(np.abs(value.numpy() - array).max()) < 0.02 * float(value.abs().max())


def test_enet_of_static_odd_size_in_every_runtime(tmp_path: Path) -> None:
    result = write(trace(seeded(SmallENet()), torch.zeros(1, 3, 37, 53)), tmp_path / "m.onnx")
    assert result.pairs == 2
    assert checked(result) == set(runtimes.installed())


def test_enet_of_dynamic_size_with_odd_sizes(tmp_path: Path) -> None:
    """Its transposed convolutions pad by what the image's size requires."""
    traced = trace(seeded(SmallENet()), torch.zeros(1, 3, 37, 53), dynamic="size")
    result = write(traced, tmp_path / "m.onnx")
    assert checked(result) == set(runtimes.installed()) - {"ncnn"}
    shapes = {row.shape for row in result.gate.rows}
    assert len({shape[2:] for shape in shapes}) == 3
    assert {shape[2] % 2 for shape in shapes} == {0, 1}
    with pytest.raises(UnsupportedModelError, match=r"changes the size.*static --imgsz"):
        write(traced, tmp_path / "n.onnx", form="plugin")


class Grow(torch.nn.Module):
    """One transposed convolution to a given size, whose kernel, stride and padding are unusual."""

    def __init__(self, **options: Any):
        super().__init__()
        self.shrink = torch.nn.Conv2d(3, 4, 3, options["stride"], 1)
        self.grow = torch.nn.ConvTranspose2d(4, 2, **options)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.grow(self.shrink(x / 255), output_size=x.shape[2:])  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3, "stride": 3, "padding": 1},
        {"kernel_size": (5, 3), "stride": 2, "padding": (2, 1), "bias": False},
    ],
)
def test_transposed_convolutions_of_dynamic_size_equal_pytorch(
    options: dict[str, Any], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    traced = trace(Grow(**options), torch.zeros(1, 3, 19, 25), dynamic="size")
    result = write(traced, tmp_path / "m.onnx", **ORT)
    assert max(row.delta for row in result.gate.rows) < 1e-5


@pytest.fixture(scope="module")
def windows() -> Trace:
    return trace(seeded(Windows((3, 3), (2, 1))), torch.zeros(1, 3, 43, 51))


@pytest.mark.parametrize("form", ["standard", "lowered"])
def test_windows_of_other_sizes_beside_2x2(form: str, windows: Trace, tmp_path: Path) -> None:
    """22x26 is no multiple of 3: the last row and columns are in no window."""
    result = write(windows, tmp_path / "m.onnx", form=form)
    assert result.pairs == 3
    assert checked(result) == set(runtimes.installed()) - {"ncnn"}
    assert [len(row.flips) for row in result.gate.rows] == [3] * len(result.gate.rows)


@pytest.mark.parametrize("swapped", [(0, 1), (7, 8)])
def test_gate_refuses_exchanged_elements_of_a_window(
    swapped: tuple[int, int], windows: Trace, tmp_path: Path
) -> None:
    write(windows, tmp_path / "m.onnx", form="lowered", **ORT)
    model = ir.load(tmp_path / "m.onnx")
    planes = next(n for n in model.graph if n.op_type == "Concat" and len(n.inputs) == 9)
    one, other = (planes.inputs[place] for place in swapped)
    planes.replace_input_with(swapped[0], other)
    planes.replace_input_with(swapped[1], one)
    ir.save(model, tmp_path / "wrong.onnx")
    with pytest.raises(ParityError, match="with the same indices"):
        gate(tmp_path / "wrong.onnx", windows.module, natural(43, 51), **ORT)


def test_windows_of_other_sizes_are_refused_in_plugin_form(windows: Trace, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match=r"MaxPool '.+'.*the lowered form supports it"):
        write(windows, tmp_path / "m.onnx", form="plugin")
    with pytest.raises(EngineError, match=r"ncnn does not support .*kernel \[3, 3\]"):
        write(windows, tmp_path / "m.onnx", runtimes=["ncnn"])


@pytest.mark.parametrize(
    ("kernel", "options", "message"),
    [
        (3, {"stride": 2}, r"pool '.+' has kernel \[3, 3\], strides \[2, 2\].*stride equal to"),
        (2, {"padding": 1}, r"pool '.+' has kernel .* pads \[1, 1, 1, 1\].*unpadded"),
        (
            3,
            {"ceil_mode": True},
            r"pool '.+' is in ceil mode with kernel \[3, 3\].*ceil_mode=False",
        ),
    ],
)
def test_windows_that_cannot_be_exact_are_refused_by_name(
    kernel: int, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnsupportedModelError, match=message):
        trace(seeded(Windows(kernel, **options)), torch.zeros(1, 3, 43, 51))

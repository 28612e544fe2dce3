"""torch's ScatterND export is restored to MaxPool indices and MaxUnpool, and nothing else is."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import graphs
import numpy as np
import onnx
import pytest
import torch
from onnx import helper as h
from torch import Tensor, nn
from torch.nn import functional as F

from segnet_deploy.errors import UnsupportedModelError
from segnet_deploy.passes.lower_unpooling import lower_unpooling
from segnet_deploy.passes.restore_unpooling import restore_unpooling
from segnet_deploy.passes.to_form import to_form
from segnet_deploy.passes.to_plugin_ops import to_plugin_ops

AUTO = torch.export.Dim.DYNAMIC
DYNAMIC: dict[str, dict[int, Any]] = {
    "static": {},
    "batch": {0: AUTO},
    "size": {0: AUTO, 2: AUTO, 3: AUTO},
}


class TwoStages(nn.Module):
    """Two nested pool/unpool pairs with arithmetic between, so that nothing is folded."""

    def __init__(self, ceil_mode: bool, keep_size: bool):
        super().__init__()
        self.ceil_mode, self.keep_size = ceil_mode, keep_size

    def pool(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return F.max_pool2d(x, 2, 2, ceil_mode=self.ceil_mode, return_indices=True)

    def unpool(self, y: Tensor, index: Tensor, size: torch.Size) -> Tensor:
        output_size = list(size[2:]) if self.keep_size else None
        return F.max_unpool2d(y, index, [2, 2], [2, 2], output_size=output_size)

    def forward(self, image: Tensor) -> Tensor:
        x = F.relu(image)
        y, outer = self.pool(x)
        y = y + 1
        z, inner = self.pool(y)
        z = self.unpool(z * 2, inner, y.shape) - 1
        return self.unpool(z, outer, x.shape) * 3


class Straight(TwoStages):
    """The same without arithmetic between the unpoolings: torch drops the reshapes."""

    def forward(self, image: Tensor) -> Tensor:
        y, outer = self.pool(image)
        z, inner = self.pool(y)
        return self.unpool(self.unpool(z, inner, y.shape), outer, image.shape)


class Deconv(nn.Module):
    """A decoder like DeconvNet's: transposed convolutions after the unpooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.fc = nn.Conv2d(5, 7, (4, 5))
        self.fc_deconv = nn.ConvTranspose2d(7, 5, (4, 5))
        self.deconv = nn.ConvTranspose2d(5, 2, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        x = F.relu(self.conv(image))
        y, index = F.max_pool2d(x, 2, 2, return_indices=True)
        y = F.relu(self.fc_deconv(F.relu(self.fc(y))))
        return self.deconv(F.max_unpool2d(y, index, [2, 2], [2, 2]))  # type: ignore[no-any-return]


def torch_export(
    module: nn.Module, shape: tuple[int, ...], dynamic: str = "static", opset: int = 20
) -> graphs.ir.Model:
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            (torch.zeros(shape),),
            dynamo=True,
            opset_version=opset,
            dynamic_shapes=(DYNAMIC[dynamic],) if DYNAMIC[dynamic] else None,
            verbose=False,
        )
    logging.disable(logging.NOTSET)
    # Through bytes, as from a file.
    return graphs.ir.from_proto(graphs.ir.to_proto(program.model))


def check(module: nn.Module, model: graphs.ir.Model, shapes: list[tuple[int, ...]]) -> None:
    """The restored, lowered and plugin-then-lowered graphs equal PyTorch bit for bit."""
    proto = graphs.ir.to_proto(model)
    lowered = lower_unpooling(graphs.ir.from_proto(proto)).model
    plugin = to_plugin_ops(graphs.ir.from_proto(proto)).model
    through = lower_unpooling(plugin).model
    for shape in shapes:
        x = torch.randint(-2, 3, shape, generator=torch.Generator().manual_seed(1)).float()
        expected = module(x).numpy()
        for found in (model, lowered, through):
            assert np.array_equal(graphs.run(found, x.numpy(), "onnxruntime")[0], expected)
        assert np.array_equal(graphs.run(lowered, x.numpy(), "openvino")[0], expected)


@pytest.mark.parametrize("dynamic", DYNAMIC)
@pytest.mark.parametrize(
    ("ceil_mode", "keep_size", "size"),
    [(True, True, (45, 60)), (False, True, (45, 62)), (False, False, (44, 60))],
    ids=["ceil", "floor", "floor-no-output-size"],
)
@pytest.mark.parametrize("kind", [TwoStages, Straight])
def test_restored_graph_equals_pytorch(
    kind: type[TwoStages], ceil_mode: bool, keep_size: bool, size: tuple[int, int], dynamic: str
) -> None:
    module = kind(ceil_mode, keep_size)
    result = restore_unpooling(torch_export(module, (2, 3, *size), dynamic))
    assert result.changed == 2
    found = graphs.operators(result.model)
    assert "ScatterND" not in found
    assert found.count("MaxPool") == found.count("MaxUnpool") == 2
    shapes = [(2, 3, *size)]
    if dynamic != "static":
        shapes += [(1, 3, *size), (3, 3, *size)]
    if dynamic == "size":
        odd = 1 if keep_size else 0
        shapes += [(1, 3, size[0] + 8 + odd, size[1] - 16 + odd), (2, 3, 24, 32)]
    check(module, result.model, shapes)


@pytest.mark.parametrize("opset", [18, 20, 23])
def test_restore_supports_several_opsets(opset: int) -> None:
    module = TwoStages(True, True)
    result = restore_unpooling(torch_export(module, (1, 2, 13, 10), opset=opset))
    assert result.changed == 2
    assert result.model.opset_imports[""] == opset
    check(module, result.model, [(1, 2, 13, 10)])


def test_restore_ignores_names() -> None:
    module = TwoStages(True, True)
    model = torch_export(module, (1, 2, 13, 10))
    for number, node in enumerate(model.graph):
        node.name = f"n{number}"
        for output in node.outputs:
            if not output.is_graph_output():
                output.name = f"v{number}_{output.index()}"
    result = restore_unpooling(model)
    assert result.changed == 2
    check(module, result.model, [(1, 2, 13, 10)])


def test_restore_handles_a_deconvnet() -> None:
    torch.manual_seed(0)
    module = Deconv()
    result = restore_unpooling(torch_export(module, (1, 3, 8, 10)))
    assert result.changed == 1
    x = torch.randn(1, 3, 8, 10)
    with torch.no_grad():
        expected = module(x).numpy()
    for model in (result.model, lower_unpooling(result.model).model):
        got = graphs.run(model, x.numpy(), "onnxruntime")[0]
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_restored_indices_are_flat_over_batch_and_channels() -> None:
    module = TwoStages(False, True)
    model = restore_unpooling(torch_export(module, (2, 3, 8, 8))).model
    pool = next(node for node in model.graph if node.op_type == "MaxPool")
    model.graph.outputs.append(pool.outputs[1])
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    index = graphs.run(model, x, "onnxruntime")[1]
    assert index[1].min() >= 3 * 64
    assert index.max() < 2 * 3 * 64


def test_another_scatter_stays_unchanged() -> None:
    nodes = [
        h.make_node("MaxPool", ["x"], ["y"], kernel_shape=[1, 1]),
        h.make_node("ScatterND", ["y", "rows", "values"], ["z"]),
    ]
    constants = [
        onnx.numpy_helper.from_array(np.array([[0], [1]]), "rows"),
        onnx.numpy_helper.from_array(np.ones((2, 3, 4, 4), np.float32), "values"),
    ]
    model = graphs.model(nodes, {"x": [2, 3, 4, 4]}, {"z": [2, 3, 4, 4]}, constants)
    result = restore_unpooling(model)
    assert result.changed == 0
    assert "ScatterND" in graphs.operators(result.model)


class Changed(nn.Module):
    """Not an unpooling: the indices are shifted by one."""

    def forward(self, image: Tensor) -> Tensor:
        y, index = F.max_pool2d(image, 2, 2, return_indices=True)
        return F.max_unpool2d(y, (index * 1 - index % 2), [2, 2], [2, 2])


class OtherSize(nn.Module):
    """Pools 9x10 by floor and unpools to 8x10: PyTorch itself misplaces values there."""

    def forward(self, image: Tensor) -> Tensor:
        y, index = F.max_pool2d(image[:, :, :, :9], 2, 2, return_indices=True)
        return F.max_unpool2d(y, index, [2, 2], [2, 2])


class Overlapping(nn.Module):
    """3x3 windows with stride 2 overlap: two windows may write to the same element."""

    def forward(self, image: Tensor) -> Tensor:
        y, index = F.max_pool2d(image, 3, 2, return_indices=True)
        return F.max_unpool2d(y, index, [3, 3], [2, 2], output_size=list(image.shape[2:]))


@pytest.mark.parametrize(
    "module", [Changed(), OtherSize(), Overlapping()], ids=lambda m: type(m).__name__
)
def test_inexact_unpooling_is_refused(module: nn.Module) -> None:
    with pytest.raises(UnsupportedModelError, match="not an exact unpooling"):
        restore_unpooling(torch_export(module, (1, 2, 9, 10)))


def test_plugin_form_cannot_be_converted_to_the_standard_form() -> None:
    model = to_plugin_ops(graphs.standard_pair((1, 2, 4, 4), False)).model
    with pytest.raises(UnsupportedModelError, match="plugin"):
        to_form(model, "standard")

"""Checkpoints as training scripts and old versions of torch save them: the values are the same."""

from __future__ import annotations

import argparse
import collections
import io
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import families
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.parametrize import is_parametrized

from segnet_deploy.errors import UnsupportedModelError
from segnet_export import SegNet, create, load_checkpoint, load_weights

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def net() -> nn.Module:
    built: nn.Module = families.build(families.CaffeNames)
    return built


def assert_same_weights(loaded: nn.Module, net: nn.Module, exact: bool = True) -> None:
    """Compare every convolution and normalisation with those of `net`, in execution order."""
    assert isinstance(loaded, SegNet)
    convs = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    ours = [*(unit.conv for unit in loaded.units), loaded.classifier]
    pairs: list[tuple[Any, Any]] = list(zip(ours, convs, strict=True))
    pairs += zip((unit.bn for unit in loaded.units), norms, strict=True)
    for got, expected in pairs:
        for name in ("weight", "bias", "running_mean", "running_var"):
            if hasattr(expected, name):
                a, b = getattr(got, name), getattr(expected, name).float()
                assert torch.equal(a, b) if exact else torch.allclose(a, b, rtol=1e-6), name


def prefixed(prefix: str, state: State) -> State:
    return {prefix + name: value for name, value in state.items()}


def averaged(net: nn.Module) -> State:
    return torch.optim.swa_utils.AveragedModel(net).state_dict()


def optimiser(net: nn.Module) -> dict[str, Any]:
    adam = torch.optim.Adam(net.parameters())
    for parameter in net.parameters():
        adam.state[parameter] = {"step": torch.tensor(1.0), "exp_avg": torch.ones_like(parameter)}
    return adam.state_dict()


def lightning(net: nn.Module) -> dict[str, Any]:
    return {
        "epoch": 7,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": prefixed("model.", net.state_dict()) | {"criterion.weight": torch.ones(5)},
        "hyper_parameters": argparse.Namespace(lr=1e-3, root=Path("data")),
        "optimizer_states": [optimiser(net)],
        "callbacks": {"ModelCheckpoint{'monitor': 'iou'}": {"best": torch.tensor(0.5)}},
    }


SAVED: dict[str, Callable[[nn.Module], Any]] = {
    "plain": lambda net: net.state_dict(),
    "plain dict": lambda net: dict(net.state_dict()),
    "DataParallel": lambda net: nn.DataParallel(net).state_dict(),
    "compiled": lambda net: prefixed("_orig_mod.", net.state_dict()),
    "compiled DataParallel": lambda net: prefixed("module._orig_mod.", net.state_dict()),
    "Lightning": lightning,
    "optimiser first": lambda net: {"optimizer": optimiser(net), "state_dict": net.state_dict()},
    "optimiser of another name": lambda net: {"opt": optimiser(net), "best": net.state_dict()},
    "SWA with n_averaged": averaged,
    "EMA beside": lambda net: {
        "state_dict": net.state_dict(),
        "state_dict_ema": {name: value * 0 for name, value in net.state_dict().items()},
    },
    "EMA object": lambda net: {"ema": argparse.Namespace(module=net, decay=0.99)},
    "numpy scalars": lambda net: {
        "best_iou": np.float64(0.61),
        "epoch": np.int64(3),
        "loss": np.float32(0.2),
        "dtype": np.dtype("float32"),
        "curve": np.linspace(0, 1, 4),
        "model": net.state_dict(),
    },
    "objects of other libraries": lambda net: {
        "args": argparse.Namespace(root=Path("data"), counts=collections.Counter("aab")),
        "history": collections.defaultdict(list, {"iou": [0.1, 0.2]}),
        "model_state": net.state_dict(),
    },
    "whole module": lambda net: net,
    "whole DataParallel": lambda net: {"net": nn.DataParallel(net)},
    "channels last": lambda net: {
        name: value.contiguous(memory_format=torch.channels_last) if value.dim() == 4 else value
        for name, value in net.state_dict().items()
    },
    "views of one storage": lambda net: {
        name: torch.stack([value, value])[1] for name, value in net.state_dict().items()
    },
    "parameters": lambda net: dict(net.named_parameters()) | dict(net.named_buffers()),
    "double": lambda net: {name: value.double() for name, value in net.state_dict().items()},
}


@pytest.mark.parametrize("name", SAVED)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
def test_saved_network_has_the_same_weights(
    name: str, zipped: bool, net: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "model.pt"
    torch.save(SAVED[name](net), path, _use_new_zipfile_serialization=zipped)
    loaded = load_checkpoint(path)
    assert_same_weights(loaded.model, net)
    assert any("tensors" in note and "used" in note for note in loaded.notes)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_has_the_same_values(
    kind: torch.dtype, net: nn.Module, tmp_path: Path
) -> None:
    halved = {n: v.to(kind) if v.dim() == 4 else v for n, v in net.state_dict().items()}
    torch.save(halved, tmp_path / "model.pt")
    model = load_checkpoint(tmp_path / "model.pt").model
    assert torch.equal(model.units[0].conv.weight, halved["conv1_1.weight"].float())  # type: ignore[union-attr,index]


def test_pickle_of_tensors_has_the_same_weights(net: nn.Module, tmp_path: Path) -> None:
    for protocol in (2, 4, 5):
        path = tmp_path / f"model{protocol}.pkl"
        path.write_bytes(pickle.dumps({"weights": net.state_dict()}, protocol=protocol))
        assert_same_weights(load_checkpoint(path).model, net)


def test_numpy_1_scalars_are_read(net: nn.Module, tmp_path: Path) -> None:
    torch.save({"best_iou": np.float64(0.6), "model": net.state_dict()}, tmp_path / "new.pt")
    text = (tmp_path / "new.pt").read_bytes()
    assert b"numpy._core.multiarray" in text  # numpy 1 had numpy.core
    data = io.BytesIO()
    torch.save(
        {"best_iou": np.float64(0.6), "model": net.state_dict()},
        data,
        _use_new_zipfile_serialization=False,
    )
    old = data.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / "old.pt").write_bytes(old)
    assert_same_weights(load_checkpoint(tmp_path / "old.pt").model, net)


def write_tar(state: State, path: Path) -> None:
    """Write the format of torch before 0.2: numbered storages and tensors, and a pickle."""

    class Numbered(pickle.Pickler):
        def persistent_id(self, item: Any) -> Any:
            return next((str(i) for i, v in enumerate(state.values()) if v is item), None)

    names = {torch.float32: "FloatStorage", torch.int64: "LongStorage"}
    storages, tensors, whole = io.BytesIO(), io.BytesIO(), io.BytesIO()
    pickle.dump(len(state), storages, 2)
    pickle.dump(len(state), tensors, 2)
    for number, value in enumerate(state.values()):
        kind = getattr(torch, names[value.dtype])
        pickle.dump((number + 1000, "cpu", kind), storages, 2)
        storages.write(struct.pack("<q", value.numel()) + value.contiguous().numpy().tobytes())
        pickle.dump((number, number + 1000, kind), tensors, 2)
        shape = (*value.shape, *value.contiguous().stride(), 0)
        tensors.write(struct.pack(f"<i4x{len(shape)}q", value.dim(), *shape))
    pickle.dump([], storages, 2)
    Numbered(whole, 2).dump(collections.OrderedDict(state))
    with tarfile.open(path, "w:") as archive:
        for name, part in (("storages", storages), ("tensors", tensors), ("pickle", whole)):
            item = tarfile.TarInfo(name)
            item.size = len(part.getvalue())
            archive.addfile(item, io.BytesIO(part.getvalue()))


def test_tar_of_the_first_versions_has_the_same_weights(net: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "model.tar"
    write_tar(net.state_dict(), path)
    reference = torch.load(path, weights_only=False)
    assert torch.equal(reference["conv1_1.weight"], net.state_dict()["conv1_1.weight"])
    assert_same_weights(load_checkpoint(path).model, net)


def each_convolution(net: nn.Module, change: Callable[[nn.Module], Any]) -> nn.Module:
    for module in list(net.modules()):
        if isinstance(module, nn.Conv2d):
            change(module)
    return net


PARAMETRISED: dict[str, Callable[[nn.Module], Any]] = {
    "weight_norm": parametrizations.weight_norm,
    "weight_norm of everything": lambda m: parametrizations.weight_norm(m, dim=None),  # type: ignore[arg-type]  # documented
    "weight_norm of inputs": lambda m: parametrizations.weight_norm(m, dim=1),
    "old weight_norm": nn.utils.weight_norm,
    "spectral_norm": lambda m: parametrizations.spectral_norm(m, n_power_iterations=40),
    "old spectral_norm": lambda m: nn.utils.spectral_norm(m, n_power_iterations=40),
    "pruning": lambda m: prune.l1_unstructured(m, "weight", 0.3),  # type: ignore[no-untyped-call]
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", PARAMETRISED)
def test_parametrised_weights_are_folded(name: str, tmp_path: Path) -> None:
    net = families.build(families.CaffeNames)
    each_convolution(net, PARAMETRISED[name]).train()
    with torch.no_grad():
        net(torch.randn(1, 3, 45, 53))  # runs the power iterations of the old spectral_norm
        net.eval()(torch.zeros(1, 3, 45, 53))
    torch.save(net.state_dict(), tmp_path / "model.pt")
    model = load_checkpoint(tmp_path / "model.pt").model
    with torch.no_grad():
        assert_same_weights(model, net)


def test_other_parametrisations_are_refused_by_name(tmp_path: Path) -> None:
    net = families.build(families.CaffeNames)
    parametrizations.orthogonal(net.get_submodule("conv2_1"))
    assert is_parametrized(net.get_submodule("conv2_1"))
    torch.save(net.state_dict(), tmp_path / "model.pt")
    with pytest.raises(UnsupportedModelError, match="'conv2_1' is parametrised"):
        load_checkpoint(tmp_path / "model.pt")


EXTRA: dict[str, tuple[State, str]] = {
    "PReLU": ({"relu1_1.weight": torch.ones(1)}, "no 'relu1_1.weight'"),
    "attention": ({"attention.gamma": torch.ones(1)}, "no 'attention.gamma'"),
    "squeeze and excite": ({"se1.fc.weight": torch.ones(2, 4)}, "no 'se1.fc.weight'"),
    "BN after the classifier": (
        {f"conv1_1_D_bn.{k}": v for k, v in nn.BatchNorm2d(families.K).state_dict().items()},
        "no 'conv1_1_D_bn.weight'",
    ),
    "a convolution": ({"head.weight": torch.ones(2, 4, 1, 1)}, "no convolution 'head'"),
}


@pytest.mark.parametrize("name", EXTRA)
def test_tensors_that_change_the_result_are_refused_by_name(
    name: str, net: nn.Module, tmp_path: Path
) -> None:
    extra, message = EXTRA[name]
    torch.save(net.state_dict() | extra, tmp_path / "model.pt")
    with pytest.raises(UnsupportedModelError, match=message):
        load_checkpoint(tmp_path / "model.pt")


def test_other_activation_of_a_whole_module_is_refused(tmp_path: Path) -> None:
    net = families.build(families.CaffeNames)
    net.activation = nn.LeakyReLU()
    torch.save(net.state_dict(), tmp_path / "state.pt")
    load_checkpoint(tmp_path / "state.pt")  # nothing of it is in a state dict
    torch.save(net, tmp_path / "module.pt")
    with pytest.raises(UnsupportedModelError, match="'activation' is a LeakyReLU"):
        load_checkpoint(tmp_path / "module.pt")


def test_eps_of_a_whole_module_is_used(tmp_path: Path) -> None:
    net = families.build(families.CaffeNames)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-2
    torch.save(net, tmp_path / "model.pt")
    x = torch.randn(1, 3, 45, 53)
    with torch.no_grad():
        torch.testing.assert_close(load_checkpoint(tmp_path / "model.pt").model(x), net(x))


def test_pools_of_a_whole_module_determine_the_geometry(tmp_path: Path) -> None:
    net = families.build(families.CaffeNames)
    net.ceil_mode = False  # type: ignore[assignment]
    net.pool = nn.MaxPool2d(2, 2, return_indices=True)
    torch.save(net, tmp_path / "model.pt")
    loaded = load_checkpoint(tmp_path / "model.pt")
    assert loaded.geometry == "floor"
    x = torch.randn(1, 3, 45, 53)
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(x), net(x))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.MaxPool2d(3, 2), "'layer' has kernel_size 3; expected 2"),
        (nn.MaxPool2d(2, 2, padding=1), "'layer' has padding 1; expected 0"),
        (nn.Upsample(scale_factor=2), "'layer' is a Upsample"),
    ],
)
def test_other_settings_of_a_whole_module_are_refused(
    layer: nn.Module, message: str, tmp_path: Path
) -> None:
    net = families.build(families.CaffeNames)
    net.layer = layer
    torch.save(net, tmp_path / "model.pt")
    with pytest.raises(UnsupportedModelError, match=message):
        load_checkpoint(tmp_path / "model.pt")


def test_reflecting_convolution_of_a_whole_module_is_refused(tmp_path: Path) -> None:
    net = families.build(families.CaffeNames)
    net.get_submodule("conv1_2").padding_mode = "reflect"
    torch.save(net, tmp_path / "model.pt")
    with pytest.raises(UnsupportedModelError, match="'conv1_2' has padding_mode reflect"):
        load_checkpoint(tmp_path / "model.pt")


def test_parametrised_weights_load_into_a_plain_module(tmp_path: Path) -> None:
    trained, plain = (create("segnet-basic", 4, width=3, seed=seed) for seed in (1, 2))
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected = trained(x)
    torch.save(
        each_convolution(trained, parametrizations.weight_norm).state_dict(), tmp_path / "m.pt"
    )
    load_weights(plain, tmp_path / "m.pt")
    with torch.no_grad():
        torch.testing.assert_close(plain(x), expected)


@pytest.mark.parametrize(
    ("means", "first", "note"),
    [
        (lambda m: m.abs(), True, "0 of"),
        (lambda m: m.abs().index_fill(0, torch.tensor([0]), -1e-12), True, "25 of"),
        (lambda m: m, False, "BN comes before ReLU"),
        (lambda m: m.abs() * torch.where(torch.arange(len(m)) % 8 == 0, -1, 1), False, "unsure"),
        (torch.zeros_like, False, "no running mean differs from 0"),
    ],
    ids=["ReLU first", "a tiny negative mean", "BN first", "unsure", "untrained"],
)
def test_bn_order_follows_share_and_size_of_negative_means(
    means: Callable[[Tensor], Tensor], first: bool, note: str, net: nn.Module, tmp_path: Path
) -> None:
    state = {n: means(v) if "running_mean" in n else v for n, v in net.state_dict().items()}
    torch.save(state, tmp_path / "model.pt")
    loaded = load_checkpoint(tmp_path / "model.pt")
    assert isinstance(loaded.model, SegNet)
    assert loaded.model.config.relu_before_bn is first
    assert any(note in text for text in loaded.notes)

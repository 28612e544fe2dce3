"""Every family's checkpoint yields the results of that family's own forward pass."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import families
import pytest
import torch
from torch import Tensor, nn

from segnet_deploy.errors import InputError, UnsupportedModelError
from segnet_export import SegNet, SegNetBasic, SegNetConfig, load_checkpoint, load_weights


def outputs(net: nn.Module, model: nn.Module, size: tuple[int, int], cin: int) -> tuple[Any, Any]:
    x = torch.randn(2, cin, *size, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return net(x), model(x)


def check(name: str, net: nn.Module, model: nn.Module) -> None:
    _, _, size, cin = families.FAMILIES[name]
    expected, got = outputs(net, model, size, cin)
    if name == "say4n":
        torch.testing.assert_close(expected[1], got.softmax(1))
        expected = expected[0]
    elif name == "vinceecws":
        got = got.softmax(1)
    elif name == "nshaud":
        got = got.log_softmax(1)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("name", families.FAMILIES)
def test_family_equals_its_own_forward_pass(name: str, tmp_path: Path) -> None:
    kind, family, _, cin = families.FAMILIES[name]
    net = families.build(kind)
    path = tmp_path / "model.pt"
    torch.save(net.state_dict(), path)
    loaded = load_checkpoint(path)
    assert loaded.family == family
    assert (loaded.num_classes, loaded.in_channels, loaded.width) == (families.K, cin, families.W)
    check(name, net, loaded.model)


WRAPPINGS = {
    "epoch-model_state": lambda s: {"epoch": 3, "model_state": s, "best_iou": 0.5},
    "state_dict-optimizer": lambda s: {"state_dict": s, "optimizer": {"state": {}, "x": [1]}},
    "module.": lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}},
    "module.model.": lambda s: {f"module.model.{k}": v for k, v in s.items()},
    "nested": lambda s: {"arch": "SegNet", "model": {"state_dict": s}},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("name", ["semseg", "yassouali"])
def test_wrappers_and_prefixes_are_removed(name: str, wrapping: str, tmp_path: Path) -> None:
    net = families.build(families.FAMILIES[name][0])
    torch.save(WRAPPINGS[wrapping](net.state_dict()), tmp_path / "model.pth")
    check(name, net, load_checkpoint(tmp_path / "model.pth").model)


OTHERS = {
    "loss": {"criterion.weight": torch.ones(11)},
    "buffers": {"mean": torch.zeros(1, 3, 1, 1).flatten(), "std": torch.ones(3)},
    "metric": {"metric.confusion": torch.zeros(5, 5), "metric.count": torch.zeros(())},
}


@pytest.mark.parametrize("others", OTHERS)
@pytest.mark.parametrize("prefix", ["model.", "module.net."])
def test_tensors_beside_the_network_are_left_out_and_named(
    others: str, prefix: str, tmp_path: Path
) -> None:
    net = families.build(families.CaffeNames)
    tensors = {prefix + name: value for name, value in net.state_dict().items()}
    torch.save({"state_dict": tensors | OTHERS[others]}, tmp_path / "model.pt")
    loaded = load_checkpoint(tmp_path / "model.pt")
    assert loaded.family == "Caffe names"
    note = next(note for note in loaded.notes if "left out" in note)
    assert all(name in note for name in OTHERS[others])
    check("caffe", net, loaded.model)


def test_choice_among_several_networks_is_reported_and_can_be_made(tmp_path: Path) -> None:
    first, second = (families.build(families.CaffeNames, seed) for seed in (0, 1))
    for keys in (("teacher", "student"), ("state_dict", "state_dict_ema")):
        states = (first.state_dict(), second.state_dict())
        torch.save(dict(zip(keys, states, strict=True)), tmp_path / "model.pt")
        loaded = load_checkpoint(tmp_path / "model.pt")
        assert any(f"under '{keys[0]}'" in note and keys[1] in note for note in loaded.notes)
        check("caffe", first, loaded.model)
        chosen = load_checkpoint(tmp_path / "model.pt", key=keys[1])
        assert not any("under" in note for note in chosen.notes)
        check("caffe", second, chosen.model)
    with pytest.raises(InputError, match=r"no weights there; expected state_dict or"):
        load_checkpoint(tmp_path / "model.pt", key="other")


def test_state_of_an_optimiser_is_not_a_network(tmp_path: Path) -> None:
    net = families.build(families.CaffeNames)
    optimiser = torch.optim.Adam(net.parameters())
    net(torch.zeros(1, 3, 45, 53)).sum().backward()
    optimiser.step()
    net.eval()
    saved = {"opt": optimiser.state_dict(), "weights_best": net.state_dict()}
    torch.save(saved, tmp_path / "model.pt")
    loaded = load_checkpoint(tmp_path / "model.pt")
    assert not any("under" in note for note in loaded.notes)
    check("caffe", net, loaded.model)


class Outer(nn.Module):
    """A user's class whose weights are under `model`, like the prefixes of training scripts."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.model = inner


def test_prefix_that_the_module_itself_has_is_kept(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trained, network = (Outer(SegNetBasic(4, width=4)) for _ in range(2))
    notes: list[str] = []
    saved = trained.state_dict()
    wrapped = {f"module.{name}": value for name, value in saved.items()}
    for tensors, use in (
        (saved, "all 58 tensors of the file are used"),
        (wrapped | {"loss.weight": torch.ones(2)}, "58 tensors are used; 1 are not the network's"),
    ):
        torch.save(tensors, tmp_path / "model.pt")
        with torch.no_grad():
            network.model.classifier.weight.zero_()
        load_weights(network, tmp_path / "model.pt", progress=lambda text, *_: notes.append(text))
        assert torch.equal(network.model.classifier.weight, trained.model.classifier.weight)
        assert use in notes[-1]


@pytest.mark.parametrize("name", families.FAMILIES)
def test_order_of_the_file_does_not_matter(name: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    net = families.build(families.FAMILIES[name][0])
    tensors = {k: v.contiguous() for k, v in reversed(net.state_dict().items())}
    save_file(tensors, tmp_path / "model.safetensors")
    check(name, net, load_checkpoint(tmp_path / "model.safetensors").model)


def test_tied_layers_are_found_in_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import save_model

    net = families.build(lambda: families.Yassouali(tied=True))
    save_model(net, str(tmp_path / "model.safetensors"))
    check("yassouali", net, load_checkpoint(tmp_path / "model.safetensors").model)


class Shell(nn.Module):
    """The layers of a network under their names, so that TorchScript can save them."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        for name, child in net.named_children():
            self.add_module(name, child)

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_torchscript_is_read(tmp_path: Path) -> None:
    net = families.build(families.Delta)
    torch.jit.script(Shell(net)).save(str(tmp_path / "model.pt"))
    check("delta-onera", net, load_checkpoint(tmp_path / "model.pt").model)


def test_float16_weights_are_read_as_float32(tmp_path: Path) -> None:
    net = families.build(families.CaffeNames)
    halved = {k: v.half() if v.dim() == 4 else v for k, v in net.state_dict().items()}
    torch.save({"epoch": 1, "state_dict": halved}, tmp_path / "model.pt")
    model = load_checkpoint(tmp_path / "model.pt").model
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    net.load_state_dict(halved)
    check("caffe", net, model)


@pytest.mark.parametrize("unsafe", [False, True])
def test_pickled_module_is_read_with_and_without_its_class(unsafe: bool, tmp_path: Path) -> None:
    net = families.build(families.Delta)
    torch.save({"model": net}, tmp_path / "model.pt")
    check("delta-onera", net, load_checkpoint(tmp_path / "model.pt", unsafe=unsafe).model)


class Bomb:
    """Create a file when unpickled."""

    def __init__(self, path: str):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (self.path, "w"))


@pytest.mark.parametrize("plain", [False, True], ids=["torch.save", "pickle"])
def test_pickle_bomb_is_refused_without_executing(plain: bool, tmp_path: Path) -> None:
    fuse = tmp_path / "exploded"
    path = tmp_path / "model.pt"
    if plain:
        path.write_bytes(pickle.dumps(Bomb(str(fuse)), protocol=2))
    else:
        torch.save({"state_dict": Bomb(str(fuse))}, path)
    with pytest.raises(InputError):
        load_checkpoint(path)
    assert not fuse.exists()


def test_geometry_and_bn_order_are_flags(tmp_path: Path) -> None:
    net = families.build(families.CaffeNames)
    torch.save(net.state_dict(), tmp_path / "model.pt")
    floor = load_checkpoint(tmp_path / "model.pt", geometry="floor")
    assert floor.geometry == "floor"
    relu_first = load_checkpoint(tmp_path / "model.pt", relu_before_bn=True)
    assert relu_first.model.config.relu_before_bn  # type: ignore[union-attr]
    net.ceil_mode = False  # type: ignore[assignment]
    check("caffe", net, floor.model)


def test_relu_before_bn_is_detected_in_the_statistics(tmp_path: Path) -> None:
    torch.save(families.build(families.Nshaud).state_dict(), tmp_path / "model.pt")
    loaded = load_checkpoint(tmp_path / "model.pt")
    assert loaded.geometry == "floor"
    assert loaded.multiple == 32
    assert any("ReLU comes before BN" in note for note in loaded.notes)


def rename(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Give the layers names of no known family, in the same order."""
    letters = str.maketrans("0123456789", "abcdefghij")
    parts = (key.rsplit(".", 1) + [value] for key, value in state.items())
    return {f"block_{owner.translate(letters)}.{part}": value for owner, part, value in parts}


def test_unknown_names_are_read_in_file_order_only_on_request(tmp_path: Path) -> None:
    net = families.build(families.Delta)
    torch.save(rename(net.state_dict()), tmp_path / "model.pt")
    with pytest.raises(UnsupportedModelError, match="--arch segnet and compare"):
        load_checkpoint(tmp_path / "model.pt")
    loaded = load_checkpoint(tmp_path / "model.pt", assume_segnet=True)
    assert "order" in loaded.family
    assert any("assumed" in note for note in loaded.notes)
    check("delta-onera", net, loaded.model)


def test_order_does_not_place_tensors_that_a_segnet_does_not_have(tmp_path: Path) -> None:
    state = rename(families.build(families.Delta).state_dict())
    normalisation = {f"after.{n}": v for n, v in nn.BatchNorm2d(families.K).state_dict().items()}
    for extra in (normalisation, {"attention.weight": torch.ones(4, 4)}):
        torch.save(state | extra, tmp_path / "model.pt")
        with pytest.raises(UnsupportedModelError, match="not a known SegNet") as caught:
            load_checkpoint(tmp_path / "model.pt", assume_segnet=True)
        assert "--arch" not in str(caught.value)


def test_extra_convolution_of_a_known_family_is_refused(tmp_path: Path) -> None:
    state = families.build(families.CaffeNames).state_dict()
    state["attention.weight"] = torch.ones(8, 4, 1, 1)
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(UnsupportedModelError, match=r"no convolution 'attention'.*--module"):
        load_checkpoint(tmp_path / "model.pt")


def test_our_own_networks_are_loaded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    nets: list[nn.Module] = [
        SegNet(SegNetConfig.standard(7, width=4)).eval(),
        SegNetBasic(7, width=8).eval(),
    ]
    for net in nets:
        torch.save(net.state_dict(), tmp_path / "model.pt")
        expected, got = outputs(net, load_checkpoint(tmp_path / "model.pt").model, (37, 41), 3)
        assert torch.equal(expected, got)


class Resnet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7)
        self.layer1 = nn.Sequential(nn.Module(), nn.Module())
        for part in self.layer1:
            part.conv1 = nn.Conv2d(8, 8, 3)
            part.bn1 = nn.BatchNorm2d(8)


class Zijundeng(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enc1 = nn.Sequential(*families.block(3, 4, 4))
        self.dec5 = nn.Sequential(nn.ConvTranspose2d(4, 4, 2, 2), *families.block(4, 4))


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (Resnet(), "ResNet"),
        (Zijundeng(), "2x2 transposed convolutions"),
        (nn.Linear(3, 3), "contains no weights"),
        (nn.Sequential(nn.Conv2d(3, 8, 3)), "1 convolutions"),
    ],
    ids=["resnet", "zijundeng", "linear", "one-conv"],
)
def test_other_networks_are_refused_with_the_reason(
    net: nn.Module, message: str, tmp_path: Path
) -> None:
    torch.save(net.state_dict(), tmp_path / "model.pt")
    with pytest.raises((UnsupportedModelError, InputError), match=message):
        load_checkpoint(tmp_path / "model.pt")


def test_skip_connections_are_refused(tmp_path: Path) -> None:
    net = families.build(families.Trypag)
    state: dict[str, Tensor] = dict(net.state_dict())
    key = "decoders.2.features.0.weight"
    state[key] = torch.cat([state[key], state[key]], 1)
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(UnsupportedModelError, match="skip connections"):
        load_checkpoint(tmp_path / "model.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"garbage" * 9, None], ids=["empty", "garbage", "cut"])
def test_damaged_file_is_an_input_error(suffix: str, content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    if content is None:
        torch.save(families.build(families.CaffeNames).state_dict(), path)
        content = path.read_bytes()[:4000]
    path.write_bytes(content)
    with pytest.raises(InputError, match="model"):
        load_checkpoint(path)


def test_wrong_class_count_is_reported(tmp_path: Path) -> None:
    torch.save(families.build(families.CaffeNames).state_dict(), tmp_path / "model.pt")
    with pytest.raises(InputError, match="--num-classes 12"):
        load_checkpoint(tmp_path / "model.pt", num_classes=12)

"""Files of others run no code, and damaged ones are one-line errors that name the tensor."""

from __future__ import annotations

import io
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import families
import pytest
import torch
from torch import Tensor, nn

from segnet_deploy.errors import InputError, SegNetError, UnsupportedModelError
from segnet_export import create, load_checkpoint, load_weights

TARGET = "segnet_target"  # a file that the code of the archive below would write


class Writing(nn.Module):
    """Its scripted `__setstate__` writes a file when the archive is loaded by torch."""

    def __init__(self) -> None:
        super().__init__()
        self.a = 3

    def forward(self, x: Tensor) -> Tensor:
        return x

    @torch.jit.export
    def __getstate__(self) -> tuple[int, bool]:
        return (self.a, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[int, bool]) -> None:
        torch.save("written", "segnet_target")
        self.a = state[0]
        self.training = state[1]


class Shell(nn.Module):
    """The layers of a network under their names, so that TorchScript can save them."""

    def __init__(self, net: nn.Module, **further: nn.Module) -> None:
        super().__init__()
        for name, child in (*net.named_children(), *further.items()):
            self.add_module(name, child)

    def forward(self, x: Tensor) -> Tensor:
        return x


class Leaky(Shell):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.leaky_relu(x, 0.1)


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return families.build(families.CaffeNames)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_code_of_a_torchscript_archive_is_not_run(net: nn.Module) -> None:
    torch.jit.script(Shell(net, extra=Writing())).save("model.pt")
    torch.jit.load("model.pt")  # what torch does with it
    assert Path(TARGET).exists()
    Path(TARGET).unlink()
    for unsafe in (False, True):
        model = load_checkpoint("model.pt", unsafe=unsafe).model
        assert not Path(TARGET).exists()
        x = torch.randn(1, 3, 45, 53)
        with torch.no_grad():
            torch.testing.assert_close(model(x), net(x))


def test_activation_in_the_code_of_an_archive_is_refused_by_name(net: nn.Module) -> None:
    torch.jit.script(Leaky(net)).save("model.pt")
    with pytest.raises(UnsupportedModelError, match="calls leaky_relu"):
        load_checkpoint("model.pt")
    torch.jit.script(Shell(net, act=nn.PReLU())).save("model.pt")
    with pytest.raises(UnsupportedModelError, match=r"no 'act\.weight'"):
        load_checkpoint("model.pt")
    torch.jit.script(Shell(net, act=nn.ELU())).save("model.pt")
    with pytest.raises(UnsupportedModelError, match="'act' is a ELU"):
        load_checkpoint("model.pt")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8), "a quantised tensor"),
        (lambda w: w.to_sparse(), "a sparse tensor"),
        (lambda w: w.to("meta"), "a meta tensor"),
        (lambda w: torch.nested.nested_tensor([w[0], w[1]]), "a nested tensor"),
        (lambda w: (w * 10).to(torch.int8), "torch.int8; expected floating-point"),
        (lambda w: w.to(torch.complex64), "torch.complex64; expected floating-point"),
        (lambda w: w * float("nan"), "contains NaN or infinity"),
        (lambda w: w.double() * 1e300, "contains NaN or infinity"),
        (lambda w: w[:0], "empty"),
    ],
)
@pytest.mark.parametrize("unsafe", [False, True])
def test_unusable_tensor_is_named(
    change: Callable[[Tensor], Tensor], message: str, unsafe: bool, net: nn.Module
) -> None:
    state = net.state_dict()
    torch.save(state | {"conv3_1.weight": change(state["conv3_1.weight"])}, "model.pt")
    with pytest.raises(InputError, match=rf"'conv3_1\.weight'.*{message}"):
        load_checkpoint("model.pt", unsafe=unsafe)
    with pytest.raises(InputError, match=rf"'conv3_1\.weight'.*{message}"):
        load_weights(create("segnet", 4, width=2), "model.pt", unsafe=unsafe)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("conv3_1.bias", lambda v: v[1:], r"bias of 'conv3_1' has shape \(15,\)"),
        ("conv3_1.bias", lambda v: v[None], r"bias of 'conv3_1' has shape \(1, 16\)"),
        ("conv3_1_bn.running_mean", lambda v: v[1:], "BN running_mean of 'conv3_1'"),
        ("conv3_1_bn.weight", lambda v: v[1:], "BN weight of 'conv3_1'"),
        ("conv3_1_bn.running_var", lambda v: -v, "negative"),
        ("conv3_1_bn.running_var", lambda _: None, "has only"),
        ("conv3_1_bn.bias", lambda _: None, "has only"),
        ("conv3_1.weight", lambda v: v[:, 1:], "expects 7 channels"),
        ("conv3_1.weight", lambda v: v[1:], "conv3_1' has shape"),
    ],
)
def test_tensor_that_does_not_fit_its_neighbours_is_named(
    name: str, change: Callable[[Tensor], Tensor | None], message: str, net: nn.Module
) -> None:
    state = net.state_dict()
    value = change(state.pop(name))
    torch.save(state if value is None else state | {name: value}, "model.pt")
    with pytest.raises(UnsupportedModelError, match=message):
        load_checkpoint("model.pt")


def test_dict_that_contains_itself_is_read_once(net: nn.Module) -> None:
    itself: dict[str, Any] = {"epoch": 3}
    itself["again"] = itself
    torch.save(itself, "model.pt")
    with pytest.raises(InputError, match="contains no weights"):
        load_checkpoint("model.pt")
    itself["last"] = net.state_dict()
    torch.save(itself, "model.pt")
    assert load_checkpoint("model.pt").family == "Caffe names"


def test_module_that_contains_itself_is_an_error(net: nn.Module) -> None:
    shell = Shell(net)
    inner = nn.Sequential()
    shell.add_module("inner", inner)
    inner._modules["outer"] = shell
    torch.save(shell, "model.pt")
    with pytest.raises(InputError, match="contains itself"):
        load_checkpoint("model.pt")


@pytest.mark.parametrize(
    ("weight", "kind"), [(torch.ones(4, 3, 3), "1-D"), (torch.ones(4, 3, 3, 3, 3), "3-D")]
)
def test_networks_of_other_dimensions_are_named_as_such(weight: Tensor, kind: str) -> None:
    torch.save({"state_dict": {"conv1.weight": weight}}, "model.pt")
    with pytest.raises(UnsupportedModelError, match=f"no 2-D convolution, but {kind} ones"):
        load_checkpoint("model.pt")


def opcodes(*parts: bytes) -> bytes:
    return pickle.PROTO + b"\x02" + b"".join(parts) + pickle.STOP


MALICIOUS = {
    "a key of nested tuples": opcodes(
        pickle.EMPTY_DICT, pickle.EMPTY_TUPLE, pickle.TUPLE1 * 200_000, pickle.NONE, pickle.SETITEM
    ),
    "a set of nested tuples": opcodes(
        *(b"c__builtin__\nset\n", pickle.EMPTY_LIST, pickle.EMPTY_TUPLE, pickle.TUPLE1 * 200_000),
        *(pickle.APPEND, pickle.TUPLE1, pickle.REDUCE),
    ),
    "a large memo": opcodes(pickle.NONE, pickle.LONG_BINPUT + b"\xff\xff\xff\xff"),
    "a state of a function": opcodes(b"ctorch._utils\n_rebuild_tensor\n", b"}", pickle.BUILD),
    "a storage that is not there": opcodes(
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
        b"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x10tQ"
    ),
}


@pytest.mark.parametrize("name", MALICIOUS)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
def test_malicious_pickle_is_an_input_error(name: str, zipped: bool) -> None:
    if zipped:
        with zipfile.ZipFile("model.pt", "w") as archive:
            archive.writestr("model/data.pkl", MALICIOUS[name])
    else:
        Path("model.pt").write_bytes(MALICIOUS[name])
    with pytest.raises(InputError, match="model"):
        load_checkpoint("model.pt")


def test_tensor_beyond_its_storage_is_an_input_error(net: nn.Module) -> None:
    data = io.BytesIO()
    torch.save({"a.weight": torch.ones(2, 3, 3, 3)}, data, _use_new_zipfile_serialization=False)
    size = b"(K\x02K\x03K\x03K\x03t"
    assert data.getvalue().count(size) == 1
    Path("model.pt").write_bytes(data.getvalue().replace(size, b"(K\x03K\x03K\x03K\x03t"))
    with pytest.raises(InputError, match=r"size \(3, 3, 3, 3\) in 54 elements"):
        load_checkpoint("model.pt")


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return `data` with a few bytes replaced, removed, inserted or repeated."""
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        place, length = rng.randrange(len(result)), rng.randrange(1, 20)
        piece = [rng.randbytes(1), b"", rng.randbytes(4) * 2, bytes(result[:length])]
        result[place : place + rng.choice((0, 1, length))] = rng.choice(piece)
    return bytes(result)


def test_mutated_checkpoints_load_or_are_one_line_errors(net: nn.Module) -> None:
    rng = random.Random(5)
    archive, stream, script = io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save({"model": net}, archive)
    torch.save(net.state_dict(), stream, _use_new_zipfile_serialization=False)
    torch.jit.save(torch.jit.script(Shell(net)), script)
    messages: list[str] = []
    for number in range(150):
        if number % 3 == 0:
            data = stream.getvalue()
            Path("model.pt").write_bytes(mutated(data[:50_000], rng) + data[50_000:])
        else:
            source = zipfile.ZipFile(script if number % 3 == 1 else archive)
            with zipfile.ZipFile("model.pt", "w") as target:
                for name in source.namelist():
                    data = source.read(name)
                    target.writestr(name, mutated(data, rng) if name.endswith("data.pkl") else data)
        try:
            load_checkpoint("model.pt")
        except SegNetError as error:
            messages.append(str(error))
    assert len(messages) > 50
    assert not any("\n" in message for message in messages)
    assert [path.name for path in Path().iterdir()] == ["model.pt"]

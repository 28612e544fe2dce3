"""A user's module that does not run or does not repeat: what is said. The channels it reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segnet_deploy.errors import InputError, SegNetError, UnsupportedModelError
from segnet_deploy.metadata import Metadata
from segnet_deploy.runtimes.model_file import load_model
from segnet_export import cli, export
from segnet_export.trial_run import find_input_channels

EXAMPLE = torch.zeros(1, 3, 33, 43)


class Base(nn.Module):
    """One pool/unpool pair between two convolutions."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Conv2d(4, 5, 1)
        self.stem = nn.Conv2d(channels, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        y, index = F.max_pool2d(x, 2, 2, return_indices=True)
        return self.head(self.between(F.max_unpool2d(y, index, 2, 2, output_size=x.shape[2:])))  # type: ignore[no-any-return]

    def between(self, x: Tensor) -> Tensor:
        return x


class Depthwise(Base):
    """Each channel of a 4-channel image is filtered alone first."""

    def __init__(self) -> None:
        super().__init__(8)
        self.first = nn.Conv2d(4, 8, 3, padding=1, groups=4)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.first(x))


class Grey(Base):
    """Three channels, of which it makes one."""

    def __init__(self) -> None:
        super().__init__(1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.mean(1, keepdim=True))


class Functional(Base):
    """The first convolution has no module."""

    def __init__(self) -> None:
        super().__init__(2)
        self.kernel = nn.Parameter(torch.randn(2, 6, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.conv2d(x, self.kernel))


@pytest.mark.parametrize(
    ("module", "channels"),
    [(Base(), 3), (Base(1), 1), (Base(4), 4), (Depthwise(), 4), (Grey(), 3), (Functional(), 6)],
    ids=["three", "one", "four", "depthwise", "grey", "functional"],
)
def test_input_channels_are_those_of_the_first_convolution(
    module: nn.Module, channels: int
) -> None:
    assert find_input_channels(module, 33, 43) == channels
    with torch.no_grad():
        assert module(torch.zeros(1, channels, 33, 43)).shape == (1, 5, 33, 43)


@pytest.mark.parametrize("more", [[], ["--input-channels", "4"]])
def test_module_option_exports_a_depthwise_first_convolution(
    more: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    torch.save(Depthwise().state_dict(), tmp_path / "m.pt")
    arguments = [str(tmp_path / "m.pt"), "--module", "test_trial_run:Depthwise", *more]
    out = tmp_path / "m.onnx"
    assert cli.main([*arguments, "--imgsz", "33", "43", "-o", str(out)]) == 0
    model = load_model(out)
    assert tuple(model.graph.inputs[0].shape or ()) == (1, 4, 33, 43)
    assert len(Metadata.from_props(dict(model.metadata_props)).classes) == 5


def test_input_channels_option_needs_a_module(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["m.pt", "--input-channels", "4"]) == 2
    assert "--input-channels requires --module" in capsys.readouterr().err


class Wrong(Base):
    def between(self, x: Tensor) -> Tensor:
        raise KeyError("scale_factor")


class EvenOnly(Base):
    def forward(self, x: Tensor) -> Tensor:
        y, index = F.max_pool2d(self.stem(x), 2, 2, return_indices=True)
        return x[:, :1] + self.head(F.max_unpool2d(y, index, 2, 2))  # type: ignore[no-any-return]


class TwoInputs(Base):
    def forward(self, x: Tensor, depth: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(torch.cat([x, depth], 1))


class OneDimension(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv1d(3, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)  # type: ignore[no-any-return]


class ThreeDimensions(OneDimension):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv3d(3, 2, 3)  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("module", "said", "unsaid"),
    [
        (Wrong(), "'scale_factor'", "multiples"),
        (EvenOnly(), "it runs at 64x64.*multiples of 32.*--imgsz 64 64", "inputs"),
        (TwoInputs(), r"forward\(x, depth\) has 2 inputs.*self\.net\(x\[:, :3\]", "multiples"),
        (Base(4), "expected input.* to have 4 channels", "multiples"),
        (OneDimension(), "Conv1d layers, but the input is a 2-D image", "weights"),
        (ThreeDimensions(), "Conv3d layers, but the input is a 2-D image", "weights"),
    ],
    ids=["its own error", "size", "two inputs", "channels", "1-D", "3-D"],
)
def test_module_that_does_not_run_shows_its_error_and_advice_that_fits(
    module: nn.Module, said: str, unsaid: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"does not run at 33x43.*{said}") as caught:
        export(module, EXAMPLE, tmp_path / "m.onnx")
    assert unsaid not in str(caught.value)


class Dropping(Base):
    def between(self, x: Tensor) -> Tensor:
        return F.dropout(x)


class Noisy(Base):
    def between(self, x: Tensor) -> Tensor:
        return x + float(np.random.default_rng().random())


class Unused(Base):
    def between(self, x: Tensor) -> Tensor:
        torch.rand(3)
        return x


@pytest.mark.parametrize(
    ("module", "cause"),
    [
        (Dropping(), r"return F\.dropout\(x\) \(test_trial_run\.py, line \d+\)"),
        (Noisy(), "Python or numpy"),
    ],
)
def test_module_that_does_not_repeat_is_refused_with_the_cause(
    module: nn.Module, cause: str, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedModelError, match=f"differ in 'logits'.*{cause}"):
        export(module, EXAMPLE, tmp_path / "m.onnx")


def test_random_numbers_without_effect_are_allowed(tmp_path: Path) -> None:
    assert export(Unused(), EXAMPLE, tmp_path / "m.onnx", runtimes=["onnxruntime"]).gate.passed


def test_weights_of_other_dimensions_load_into_their_module(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    for kind in (OneDimension, ThreeDimensions):
        torch.save(kind().state_dict(), tmp_path / "m.pt")
        module = ["--module", f"test_trial_run:{kind.__name__}"]
        for more in ([], module):
            assert cli.main([str(tmp_path / "m.pt"), *more, "-o", str(tmp_path / "m.onnx")]) == 1
            error = capsys.readouterr().err
            assert "no weights" not in error
            assert "1-D" in error or "3-D" in error or "2-D image" in error


def test_errors_are_one_line(tmp_path: Path) -> None:
    class Long(Base):
        def between(self, x: Tensor) -> Tensor:
            raise RuntimeError("first line\nsecond line")

    with pytest.raises(SegNetError, match=r"first line$"):
        export(Long(), torch.zeros(1, 3, 32, 64), tmp_path / "m.onnx")

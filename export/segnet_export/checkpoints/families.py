"""How each code base names the layers of its SegNet, and what the names do not determine."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

Place = tuple[int, int, int]
"""Side (0 encoder, 1 decoder), stage and position; they sort in execution order."""


@dataclass(frozen=True)
class Family:
    """How one code base names its layers.

    `place` returns a layer's place from a match of `pattern`; `bn` returns the name of the
    normalisation that follows a convolution. `classifier` is the classifier's name, if it differs
    from the pattern; `classifier_bn`: BN and ReLU follow it. `ceil_mode`: pools round up.
    `keep_size`: unpooling restores the pool's input size. `unused` is the pattern of tensors
    that the file contains but the network does not use. `notes` are shown to the user.
    """

    name: str
    pattern: str
    place: Callable[[re.Match[str]], Place]
    bn: Callable[[str], str]
    classifier: str | None = None
    ceil_mode: bool = False
    keep_size: bool = True
    classifier_bn: bool = False
    unused: str = ""
    notes: tuple[str, ...] = ()


def _next_in_sequential(name: str) -> str:
    """`stage.3` -> `stage.4`: the normalisation follows in the same Sequential."""
    head, _, number = name.rpartition(".")
    return f"{head}.{int(number) + 1}" if number.isdigit() else ""


def _side(match: re.Match[str], decoder: str) -> int:
    return int(match["side"] == decoder)


def _stages_and_positions_down(decoder: str) -> Callable[[re.Match[str]], Place]:
    """Decoder stages and positions count down: conv53d, conv52d, ..., conv11d."""

    def place(match: re.Match[str]) -> Place:
        side = _side(match, decoder)
        sign = -1 if side else 1
        return side, sign * int(match["stage"]), sign * int(match["place"])

    return place


def _stages_down(decoder: str) -> Callable[[re.Match[str]], Place]:
    """Decoder stages count down, positions up: up5.conv1, up5.conv2, ..., up1.conv2."""

    def place(match: re.Match[str]) -> Place:
        side = _side(match, decoder)
        return side, (-1 if side else 1) * int(match["stage"]), int(match["place"])

    return place


def _stages_up(decoder: str) -> Callable[[re.Match[str]], Place]:
    """Stages and positions count up in both sides: stage1_decoder.0, stage1_decoder.3, ..."""

    def place(match: re.Match[str]) -> Place:
        return _side(match, decoder), int(match["stage"]), int(match["place"])

    return place


def _unit_number(match: re.Match[str]) -> Place:
    """Our own SegNet numbers its units through both sides: units.0, ..., units.24."""
    number = int(match["place"])
    bounds = (2, 4, 7, 10, 13, 16, 19, 22, 24, 25)
    stage = next((i for i, bound in enumerate(bounds) if number < bound), len(bounds))
    return int(stage > 4), stage, number


FAMILIES = (
    Family(
        "segnet-deploy",
        r"units\.(?P<place>\d+)\.conv",
        _unit_number,
        lambda name: name.removesuffix("conv") + "bn",
        classifier="classifier",
        ceil_mode=True,
    ),
    Family(
        "meetps/pytorch-semseg",
        r"(?P<side>down|up)(?P<stage>\d)\.conv(?P<place>\d)\.cbr_unit\.0",
        _stages_down("up"),
        _next_in_sequential,
        classifier_bn=True,
        notes=("BN and ReLU follow its classifier, so no logit is negative",),
    ),
    Family(
        "say4n/pytorch-segnet",
        r"(?P<side>encoder_conv|decoder_convtr)_(?P<stage>\d)(?P<place>\d)\.0",
        _stages_and_positions_down("decoder_convtr"),
        _next_in_sequential,
        unused=r"vgg16\..*",
        notes=("the original returns (logits, softmax); the exported file returns logits",),
    ),
    Family(
        "vinceecws/SegNet_PyTorch",
        r"Conv(?P<side>En|De)(?P<stage>\d)(?P<place>\d)",
        _stages_and_positions_down("De"),
        lambda name: name.replace("Conv", "BN"),
        unused=r"BNDe11\..*",
        notes=("the original returns softmax; the exported file returns logits (same labels)",),
    ),
    Family(
        "delta-onera / DenseFusion",
        r"conv(?P<stage>\d)(?P<place>\d)(?P<side>d?)",
        _stages_and_positions_down("d"),
        lambda name: name.replace("conv", "bn"),
        keep_size=False,
    ),
    Family(
        "Caffe names",
        r"conv(?P<stage>\d)_(?P<place>\d)(?P<side>(?:_D)?)",
        _stages_and_positions_down("_D"),
        lambda name: name + "_bn",
        ceil_mode=True,
    ),
    Family(
        "yassouali/pytorch-segmentation",
        r"stage(?P<stage>\d)_(?P<side>encoder|decoder)\.(?P<place>\d+)",
        _stages_up("decoder"),
        _next_in_sequential,
    ),
    Family(
        "trypag/pytorch-unet-segnet",
        r"(?P<side>encoders|decoders)\.(?P<stage>\d)\.features\.(?P<place>\d+)",
        _stages_up("decoders"),
        _next_in_sequential,
        classifier="classifier",
    ),
    Family(
        "bodokaiser/piwise",
        r"(?P<side>dec|enc)(?P<stage>\d)(?:\.encode)?\.(?P<place>\d+)",
        _stages_down("enc"),
        _next_in_sequential,
        classifier="final.0",
        classifier_bn=True,
        notes=("BN and ReLU follow its classifier, so no logit is negative",),
    ),
)

FILE_ORDER = Family(
    "unknown names, read in the file's order",
    "",
    lambda _: (0, 0, 0),
    str,
    notes=(
        "assumed: the file's order, BN before ReLU, floor pooling, no ReLU after the last "
        "convolution; compare the labels with your own code's",
    ),
)
"""Stands for a file whose names match no family; the order of its tensors places them."""

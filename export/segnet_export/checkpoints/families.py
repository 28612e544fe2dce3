"""How each code base names the layers of its SegNet, and what the names cannot tell."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

Place = tuple[int, int, int]  # side (0 encoder, 1 decoder), stage and position, in order


@dataclass(frozen=True)
class Family:
    """How one code base names its layers.

    `place` gives a layer's place from a match of `pattern`; `bn` builds the name of the
    normalisation. Geometry: `ceil_mode`, and `keep_size` (unpooling restores the size).
    """

    name: str
    pattern: str
    place: Callable[[re.Match[str]], Place]
    bn: Callable[[str], str]
    classifier: str | None = None
    ceil_mode: bool = False
    keep_size: bool = True
    classifier_bn: bool = False
    notes: tuple[str, ...] = ()


def _next_number(name: str) -> str:
    """`stage.3` -> `stage.4`: the normalisation follows in the same Sequential."""
    head, _, number = name.rpartition(".")
    return f"{head}.{int(number) + 1}" if number.isdigit() else ""


def _side(match: re.Match[str], decoder: str) -> int:
    return int(match["side"] == decoder)


def _mirrored(decoder: str) -> Callable[[re.Match[str]], Place]:
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


def _upwards(decoder: str) -> Callable[[re.Match[str]], Place]:
    def place(match: re.Match[str]) -> Place:
        return _side(match, decoder), int(match["stage"]), int(match["place"])

    return place


def _ours(match: re.Match[str]) -> Place:
    number = int(match["place"])
    bounds = (2, 4, 7, 10, 13, 16, 19, 22, 24, 25)
    stage = next((i for i, bound in enumerate(bounds) if number < bound), len(bounds))
    return int(stage > 4), stage, number


FAMILIES = (
    Family(
        "segnet-deploy",
        r"units\.(?P<place>\d+)\.conv",
        _ours,
        lambda name: name.removesuffix("conv") + "bn",
        classifier="classifier",
        ceil_mode=True,
    ),
    Family(
        "meetps/pytorch-semseg",
        r"(?P<side>down|up)(?P<stage>\d)\.conv(?P<place>\d)\.cbr_unit\.0",
        _stages_down("up"),
        _next_number,
        classifier_bn=True,
        notes=("its classifier is followed by BN and ReLU, so no logit is negative",),
    ),
    Family(
        "say4n/pytorch-segnet",
        r"(?P<side>encoder_conv|decoder_convtr)_(?P<stage>\d)(?P<place>\d)\.0",
        _mirrored("decoder_convtr"),
        _next_number,
        notes=("it returned (logits, softmax); the file returns logits",),
    ),
    Family(
        "vinceecws/SegNet_PyTorch",
        r"Conv(?P<side>En|De)(?P<stage>\d)(?P<place>\d)",
        _mirrored("De"),
        lambda name: name.replace("Conv", "BN"),
        notes=("it returned softmax; the file returns logits (same labels)",),
    ),
    Family(
        "delta-onera / DenseFusion",
        r"conv(?P<stage>\d)(?P<place>\d)(?P<side>d?)",
        _mirrored("d"),
        lambda name: name.replace("conv", "bn"),
        keep_size=False,
    ),
    Family(
        "Caffe names",
        r"conv(?P<stage>\d)_(?P<place>\d)(?P<side>(?:_D)?)",
        _mirrored("_D"),
        lambda name: name + "_bn",
        ceil_mode=True,
    ),
    Family(
        "yassouali/pytorch-segmentation",
        r"stage(?P<stage>\d)_(?P<side>encoder|decoder)\.(?P<place>\d+)",
        _upwards("decoder"),
        _next_number,
    ),
    Family(
        "trypag/pytorch-unet-segnet",
        r"(?P<side>encoders|decoders)\.(?P<stage>\d)\.features\.(?P<place>\d+)",
        _upwards("decoders"),
        _next_number,
        classifier="classifier",
    ),
    Family(
        "bodokaiser/piwise",
        r"(?P<side>dec|enc)(?P<stage>\d)(?:\.encode)?\.(?P<place>\d+)",
        _stages_down("enc"),
        _next_number,
        classifier="final.0",
        classifier_bn=True,
        notes=("its classifier is followed by BN and ReLU, so no logit is negative",),
    ),
)
IN_ORDER = Family("unknown names, taken in the file's order", "", lambda _: (0, 0, 0), str)

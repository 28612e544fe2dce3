"""The families of SegNet checkpoints: from names to convolutions in execution order.

A family is a pattern that gives each convolution its place (side, stage, position), the
name of its batch normalisation, and what the names cannot tell but the family does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from segnet_deploy.errors import UnsupportedModelError

ENCODER_STAGES = (2, 2, 3, 3, 3)
Place = tuple[int, int, int]  # side (0 encoder, 1 decoder), stage and position, in order
Modules = dict[str, dict[str, Tensor]]


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


@dataclass(frozen=True)
class Unit:
    """A convolution and its normalisation, where it has one."""

    name: str
    conv: dict[str, Tensor]
    bn: dict[str, Tensor] | None


@dataclass(frozen=True)
class Layout:
    """A checkpoint in execution order: units by stage, and the classifier."""

    family: Family
    encoder: tuple[tuple[Unit, ...], ...]
    decoder: tuple[tuple[Unit, ...], ...]
    classifier: Unit
    unused: tuple[str, ...] = field(default=())


def _next_number(name: str) -> str:
    """`stage.3` -> `stage.4`: the normalisation follows in the same Sequential."""
    head, number = name.rsplit(".", 1)
    return f"{head}.{int(number) + 1}"


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


def find_layout(tensors: dict[str, Tensor], ordered: bool) -> Layout:
    """Recognise the family. Raises UnsupportedModelError with the reason."""
    modules = group(tensors)
    convs = {name for name, parts in modules.items() if _is_conv(parts)}
    best, hits = FAMILIES[0], 0
    for family in FAMILIES:
        count = sum(re.fullmatch(family.pattern, name) is not None for name in convs)
        if count > hits:
            best, hits = family, count
    if hits >= 8:
        return _by_family(best, modules, convs)
    if ordered and (layout := _in_order(modules)) is not None:
        return layout
    raise UnsupportedModelError(_why_not(modules, convs))


def group(tensors: dict[str, Tensor]) -> Modules:
    """Group tensors by the module that owns them."""
    modules: Modules = {}
    for name, value in tensors.items():
        owner, _, part = name.rpartition(".")
        modules.setdefault(owner, {})[part] = value
    return modules


def _by_family(family: Family, modules: Modules, convs: set[str]) -> Layout:
    placed: list[tuple[Place, Unit]] = []
    loose = []
    for name in (n for n in modules if n in convs):
        match = re.fullmatch(family.pattern, name)
        unit = Unit(name, modules[name], _bn(modules, family.bn(name)))
        if match is None or name == family.classifier:
            loose.append(unit)
        else:
            placed.append((family.place(match), unit))
    placed.sort(key=lambda item: item[0])
    encoder = _stages([p for p in placed if p[0][0] == 0])
    decoder = _stages([p for p in placed if p[0][0] == 1])
    if not decoder:
        raise UnsupportedModelError(
            f"the names look like {family.name}, but there is no decoder; only whole nets work"
        )
    classifier = next((u for u in loose if u.name == family.classifier), None)
    if classifier is None:
        classifier, decoder = _last(decoder, loose)
    elif len(decoder) == len(encoder) - 1:
        decoder = (*decoder, ())  # the last unpooling goes straight to the classifier
    return _checked(Layout(family, encoder, decoder, classifier))


def _last(
    decoder: tuple[tuple[Unit, ...], ...], loose: Sequence[Unit]
) -> tuple[Unit, tuple[tuple[Unit, ...], ...]]:
    """Take the classifier: a 27th convolution of another name, or the decoder's last."""
    last = decoder[-1][-1]
    width = _out(last)
    extra = [u for u in loose if u.conv["weight"].shape[1] == width and u.bn is None]
    if last.bn is not None and len(extra) == 1:
        return extra[0], decoder
    return last, (*decoder[:-1], decoder[-1][:-1])


def _in_order(modules: Modules) -> Layout | None:
    """Read 26 or 27 convolutions, each but the last with BN, in the order of the file."""
    units: list[Unit] = []
    for name, parts in modules.items():
        if _is_conv(parts):
            units.append(Unit(name, parts, None))
        elif "running_mean" in parts and units:
            units[-1] = Unit(units[-1].name, units[-1].conv, parts)
    decoder_stages = {26: (3, 3, 3, 2, 1), 27: (3, 3, 3, 2, 2)}.get(len(units))
    if decoder_stages is None or any(unit.bn is None for unit in units[:-1]):
        return None
    rest = iter(units)
    encoder = tuple(tuple(next(rest) for _ in range(n)) for n in ENCODER_STAGES)
    decoder = tuple(tuple(next(rest) for _ in range(n)) for n in decoder_stages)
    try:
        return _checked(Layout(IN_ORDER, encoder, decoder, units[-1]))
    except UnsupportedModelError:
        return None


def _checked(layout: Layout) -> Layout:
    """Make sure that every convolution takes what the one before it gives."""
    if len(layout.encoder) != len(layout.decoder):
        raise UnsupportedModelError(
            f"{len(layout.encoder)} encoder but {len(layout.decoder)} decoder stages in "
            f"{layout.family.name}: not a SegNet"
        )
    units = [unit for stage in (*layout.encoder, *layout.decoder) for unit in stage]
    channels = None
    for unit in (*units, layout.classifier):
        weight = unit.conv["weight"]
        cin = weight.shape[0] if is_transposed(unit, channels) else weight.shape[1]
        if channels is not None and cin != channels:
            raise UnsupportedModelError(
                f"'{unit.name}' takes {cin} channels but {channels} arrive: not a plain SegNet "
                f"of {layout.family.name} (skip connections are not supported)"
            )
        channels = weight.shape[1] if is_transposed(unit, channels) else weight.shape[0]
        if unit is not layout.classifier and tuple(weight.shape[2:]) != (3, 3):
            raise UnsupportedModelError(
                f"'{unit.name}' has a {weight.shape[2]}x{weight.shape[3]} kernel; expected 3x3"
            )
    return layout


def is_transposed(unit: Unit, channels: int | None = None) -> bool:
    """Tell whether the weight belongs to a ConvTranspose2d: (in, out, kh, kw)."""
    return "decoder_convtr" in unit.name


def _stages(placed: Sequence[tuple[Place, Unit]]) -> tuple[tuple[Unit, ...], ...]:
    stages: dict[int, list[Unit]] = {}
    for (_, stage, _), unit in placed:
        stages.setdefault(stage, []).append(unit)
    return tuple(tuple(units) for units in stages.values())


def _bn(modules: Modules, name: str) -> dict[str, Tensor] | None:
    parts = modules.get(name, {})
    return parts if "running_mean" in parts else None


def _out(unit: Unit) -> int:
    return int(unit.conv["weight"].shape[0])


def _is_conv(parts: dict[str, Tensor]) -> bool:
    return "weight" in parts and parts["weight"].dim() == 4


def _why_not(modules: Modules, convs: set[str]) -> str:
    names = list(modules)
    if any(re.fullmatch(r"layer\d\.\d+\.conv\d", name) for name in names):
        what = "the names are those of a ResNet, which has no unpooling"
    elif any(modules[n]["weight"].shape[2:] == (2, 2) for n in convs):
        what = "it upsamples by 2x2 transposed convolutions, not by unpooling with indices"
    elif not convs:
        what = "it has no 2-D convolution"
    else:
        what = f"{len(convs)} convolutions, named like {', '.join(sorted(convs)[:3])}"
    known = ", ".join(family.name for family in FAMILIES[1:])
    return (
        f"not a SegNet checkpoint that is known: {what}. Known: {known}; or give your own class "
        "with --module pkg.mod:Class"
    )

"""From names to convolutions in execution order, by family."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from segnet_deploy.errors import UnsupportedModelError
from segnet_export.checkpoints.families import FAMILIES, IN_ORDER, Family, Place

ENCODER_STAGES = (2, 2, 3, 3, 3)
Modules = dict[str, dict[str, Tensor]]


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

    @property
    def units(self) -> list[Unit]:
        """Every unit but the classifier, in execution order."""
        return [unit for stage in (*self.encoder, *self.decoder) for unit in stage]


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
    channels = None
    for unit in (*layout.units, layout.classifier):
        weight = unit.conv["weight"]
        cout, cin = weight.shape[:2][::-1] if is_transposed(unit) else weight.shape[:2]
        if channels is not None and cin != channels:
            raise UnsupportedModelError(
                f"'{unit.name}' takes {cin} channels but {channels} arrive: not a plain SegNet "
                f"of {layout.family.name} (skip connections are not supported)"
            )
        channels = cout
        if unit is not layout.classifier and tuple(weight.shape[2:]) != (3, 3):
            raise UnsupportedModelError(
                f"'{unit.name}' has a {weight.shape[2]}x{weight.shape[3]} kernel; expected 3x3"
            )
    return layout


def is_transposed(unit: Unit) -> bool:
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

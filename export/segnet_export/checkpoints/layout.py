"""From tensors by name to convolutions in execution order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from segnet_deploy.errors import UnsupportedModelError
from segnet_export.checkpoints.families import FAMILIES, FILE_ORDER, Family, Place

ENCODER_STAGES = (2, 2, 3, 3, 3)
DECODER_STAGES = {26: (3, 3, 3, 2, 1), 27: (3, 3, 3, 2, 2)}  # by the number of convolutions
MIN_MATCHES = 8  # convolutions whose names fit one family
_CONV_PARTS = {"weight", "bias"}
_BN_PARTS = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
Modules = dict[str, dict[str, Tensor]]


@dataclass(frozen=True)
class Unit:
    """A convolution, and its batch normalisation or None."""

    name: str
    conv: dict[str, Tensor]
    bn: dict[str, Tensor] | None


Stages = tuple[tuple[Unit, ...], ...]


@dataclass(frozen=True)
class Layout:
    """A checkpoint in execution order: units by stage, and the classifier.

    `left_out` names the tensors of the file that the network does not use.
    """

    family: Family
    encoder: Stages
    decoder: Stages
    classifier: Unit
    left_out: tuple[str, ...] = ()

    @property
    def units(self) -> list[Unit]:
        """Every unit but the classifier, in execution order."""
        return [unit for stage in (*self.encoder, *self.decoder) for unit in stage]


def find_layout(tensors: dict[str, Tensor], ordered: bool, assume_segnet: bool = False) -> Layout:
    """Recognise the family of a checkpoint and sort its convolutions.

    `ordered`: the tensors are in the order of the module. With `assume_segnet`, this order places
    the convolutions if their names are those of no known family. Raises UnsupportedModelError
    with the reason.
    """
    modules = _group_by_module(tensors)
    convs = {name for name, parts in modules.items() if _is_conv(parts)}
    best, matches = FAMILIES[0], 0
    for family in FAMILIES:
        count = sum(re.fullmatch(family.pattern, name) is not None for name in convs)
        if count > matches:
            best, matches = family, count
    if matches >= MIN_MATCHES:
        return _layout_by_name(best, modules, convs)
    layout = _layout_by_file_order(modules) if ordered else None
    if layout is not None and assume_segnet:
        return layout
    raise UnsupportedModelError(_unknown_names(modules, convs, layout is not None))


def is_transposed(unit: Unit) -> bool:
    """Return whether the weight belongs to a ConvTranspose2d: (in, out, kh, kw)."""
    return "decoder_convtr" in unit.name


def _group_by_module(tensors: dict[str, Tensor]) -> Modules:
    modules: Modules = {}
    for name, value in tensors.items():
        owner, _, part = name.rpartition(".")
        modules.setdefault(owner, {})[part] = value
    return modules


def _layout_by_name(family: Family, modules: Modules, convs: set[str]) -> Layout:
    placed: list[tuple[Place, Unit]] = []
    unplaced = []
    for name in (n for n in modules if n in convs):
        match = re.fullmatch(family.pattern, name)
        unit = Unit(name, modules[name], _find_bn(modules, family.bn(name)))
        if match is None or name == family.classifier:
            unplaced.append(unit)
        else:
            placed.append((family.place(match), unit))
    placed.sort(key=lambda item: item[0])
    encoder = _group_by_stage([p for p in placed if p[0][0] == 0])
    decoder = _group_by_stage([p for p in placed if p[0][0] == 1])
    if not decoder:
        raise UnsupportedModelError(
            f"the names are those of {family.name}, but the decoder is missing; give a checkpoint "
            "of the whole network"
        )
    classifier = next((u for u in unplaced if u.name == family.classifier), None)
    if classifier is None:
        classifier, decoder = _split_classifier(decoder, unplaced)
    elif len(decoder) == len(encoder) - 1:
        decoder = (*decoder, ())  # the classifier directly follows the last unpooling
    layout = Layout(family, encoder, decoder, classifier)
    _check(layout)
    return replace(layout, left_out=_unused_tensors(layout, modules))


def _unused_tensors(layout: Layout, modules: Modules) -> tuple[str, ...]:
    """Return the names of the tensors that the family's network itself does not use.

    Raises UnsupportedModelError if there are others: the network would compute something else.
    """
    family, used = layout.family, set[str]()
    for unit in (*layout.units, layout.classifier):
        used |= {f"{unit.name}.{part}" for part in _CONV_PARTS}
        if unit is not layout.classifier or family.classifier_bn:
            used |= {f"{family.bn(unit.name)}.{part}" for part in _BN_PARTS}
    rest = [
        (f"{owner}.{part}" if owner else part, value)
        for owner, parts in modules.items()
        for part, value in parts.items()
    ]
    rest = [(name, value) for name, value in rest if name not in used]
    extra = [
        (name, value)
        for name, value in rest
        if value.is_floating_point() and not re.fullmatch(family.unused, name)
    ]
    if extra:
        name, value = extra[0]
        what = f"convolution '{name.removesuffix('.weight')}'" if value.dim() == 4 else f"'{name}'"
        raise UnsupportedModelError(
            f"the names are those of {family.name}, but it has no {what}"
            f"{f' (and {len(extra) - 1} more tensors)' if len(extra) > 1 else ''}; give your own "
            "class with --module pkg.mod:Class"
        )
    return tuple(name for name, _ in rest)


def _split_classifier(decoder: Stages, unplaced: Sequence[Unit]) -> tuple[Unit, Stages]:
    """Find the classifier: a 27th convolution of another name, or the decoder's last."""
    last = decoder[-1][-1]
    channels = last.conv["weight"].shape[0]
    candidates = [u for u in unplaced if u.conv["weight"].shape[1] == channels and u.bn is None]
    if last.bn is not None and len(candidates) == 1:
        return candidates[0], decoder
    return last, (*decoder[:-1], decoder[-1][:-1])


def _layout_by_file_order(modules: Modules) -> Layout | None:
    """Read 26 or 27 convolutions, each but the last with BN, in the order of the file.

    None if the file has anything else, such as BN after the last one: the order does not tell
    where that belongs.
    """
    units: list[Unit] = []
    for name, parts in modules.items():
        if _is_conv(parts):
            units.append(Unit(name, parts, None))
        elif "running_mean" in parts and units and units[-1].bn is None:
            units[-1] = Unit(units[-1].name, units[-1].conv, parts)
        else:
            return None
    decoder_stages = DECODER_STAGES.get(len(units))
    if decoder_stages is None or any(unit.bn is None for unit in units[:-1]) or units[-1].bn:
        return None
    remaining = iter(units)
    encoder = tuple(tuple(next(remaining) for _ in range(n)) for n in ENCODER_STAGES)
    decoder = tuple(tuple(next(remaining) for _ in range(n)) for n in decoder_stages)
    layout = Layout(FILE_ORDER, encoder, decoder, units[-1])
    try:
        _check(layout)
    except UnsupportedModelError:
        return None
    return layout


def _check(layout: Layout) -> None:
    """Raise UnsupportedModelError unless each convolution fits the output of the one before."""
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
                f"'{unit.name}' expects {cin} channels but the layer before it returns {channels}: "
                f"not a plain SegNet of {layout.family.name} (skip connections are not supported)"
            )
        channels = cout
        if unit is not layout.classifier and tuple(weight.shape[2:]) != (3, 3):
            raise UnsupportedModelError(
                f"'{unit.name}' has a {weight.shape[2]}x{weight.shape[3]} kernel; expected 3x3"
            )
        _check_parts(unit, cout)


def _check_parts(unit: Unit, channels: int) -> None:
    """Raise UnsupportedModelError unless bias and normalisation have one value per channel."""
    owners = {"bias": unit.conv.get("bias")}
    if unit.bn is not None:
        owners |= {
            f"BN {part}": unit.bn[part]
            for part in _BN_PARTS - {"num_batches_tracked"}
            if part in unit.bn
        }
        missing = {"running_mean", "running_var"} - set(unit.bn)
        if missing or ("weight" in unit.bn) != ("bias" in unit.bn):
            raise UnsupportedModelError(
                f"the normalisation after '{unit.name}' has only {', '.join(sorted(unit.bn))}; "
                "expected running_mean and running_var, and weight and bias or neither"
            )
        if bool((unit.bn["running_var"] < 0).any()):
            raise UnsupportedModelError(
                f"the running_var after '{unit.name}' has negative values; use another checkpoint"
            )
    for name, value in owners.items():
        if value is not None and tuple(value.shape) != (channels,):
            raise UnsupportedModelError(
                f"the {name} of '{unit.name}' has shape {tuple(value.shape)}; expected one value "
                f"for each of its {channels} channels"
            )


def _group_by_stage(placed: Sequence[tuple[Place, Unit]]) -> Stages:
    stages: dict[int, list[Unit]] = {}
    for (_, stage, _), unit in placed:
        stages.setdefault(stage, []).append(unit)
    return tuple(tuple(units) for units in stages.values())


def _find_bn(modules: Modules, name: str) -> dict[str, Tensor] | None:
    parts = modules.get(name, {})
    return parts if parts.keys() & {"running_mean", "running_var"} else None


def _is_conv(parts: dict[str, Tensor]) -> bool:
    return "weight" in parts and parts["weight"].dim() == 4


def _unknown_names(modules: Modules, convs: set[str], fits: bool) -> str:
    """Return the error message for names of no known family; `fits`: SegNet in file order does."""
    if any(re.fullmatch(r"layer\d\.\d+\.conv\d", name) for name in modules):
        reason = "the names are those of a ResNet, which has no unpooling"
    elif any(modules[name]["weight"].shape[2:] == (2, 2) for name in convs):
        reason = "it upsamples by 2x2 transposed convolutions, not by unpooling with indices"
    elif not convs:
        other = {parts["weight"].dim() - 2 for parts in modules.values() if "weight" in parts}
        kinds = " and ".join(f"{n}-D" for n in sorted(other & {1, 3}))
        reason = "it has no 2-D convolution" + (f", but {kinds} ones" if kinds else "")
    else:
        reason = f"{len(convs)} convolutions, named like {', '.join(sorted(convs)[:3])}"
    if fits:
        reason += (
            ". In the file's order they fit SegNet; if it is one, add --arch segnet and compare "
            "its labels with your own code's"
        )
    known = ", ".join(family.name for family in FAMILIES[1:])
    return (
        f"not a known SegNet checkpoint: {reason}. Known: {known}; or give your own class with "
        "--module pkg.mod:Class"
    )

"""Class names and colours: of the data sets of SegNet's authors, from a file, or generated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from segnet_deploy.errors import InputError

Colour = tuple[int, int, int]


class Classes(NamedTuple):
    """Names and RGB colours, in the order of the label ids."""

    names: tuple[str, ...]
    palette: tuple[Colour, ...]


CAMVID = Classes(
    (
        "Sky",
        "Building",
        "Pole",
        "Road",
        "Pavement",
        "Tree",
        "SignSymbol",
        "Fence",
        "Car",
        "Pedestrian",
        "Bicyclist",
    ),
    (
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
)
# The 12 classes of the authors' web demo: CamVid's, and road markings.
DRIVING = Classes(
    (*CAMVID.names[:3], "RoadMarking", *CAMVID.names[3:]),
    (*CAMVID.palette[:3], (255, 69, 0), *CAMVID.palette[3:]),
)
PASCAL_NAMES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
NAMED = ("camvid", "driving", "pascal", "sunrgbd")
"""The sets that `load_classes` knows by name."""
_BLACK: Colour = (0, 0, 0)
SUNRGBD_NAMES = (
    "wall",
    "floor",
    "cabinet",
    "bed",
    "chair",
    "sofa",
    "table",
    "door",
    "window",
    "bookshelf",
    "picture",
    "counter",
    "blinds",
    "desk",
    "shelves",
    "curtain",
    "dresser",
    "pillow",
    "mirror",
    "floor_mat",
    "clothes",
    "ceiling",
    "books",
    "fridge",
    "tv",
    "paper",
    "towel",
    "shower_curtain",
    "box",
    "whiteboard",
    "person",
    "night_stand",
    "toilet",
    "sink",
    "lamp",
    "bathtub",
    "bag",
)


def load_classes(spec: str | None, count: int) -> Classes:
    """Return `count` names and colours.

    `spec` is one of NAMED, the path of a text file (`name` or `name r g b` per line) or of a JSON
    list (of names or of {"name", "color"}), or None for class_0, class_1, ... With 38 classes,
    'sunrgbd' begins with void, as in the authors' models.
    Raises InputError if the file cannot be used or has a different number of classes.
    """
    if spec is None:
        return Classes(tuple(f"class_{i}" for i in range(count)), generated_palette(count))
    classes = _named(spec, count) if spec in NAMED else _read(Path(spec))
    if len(classes.names) != count:
        raise InputError(
            f"--classes {spec} names {len(classes.names)} classes but the model has {count}; "
            "expected a file with one line per class"
        )
    return classes


def generated_palette(count: int) -> tuple[Colour, ...]:
    """Return `count` RGB colours; the first 256 are distinct.

    Every third bit of (id + 1) goes to the same channel, the lowest bits to the highest positions.
    """

    def channel(bits: int, offset: int) -> int:
        return sum(((bits >> (3 * i + offset)) & 1) << (7 - i) for i in range(3))

    ids = [(i + 1) % 256 for i in range(count)]
    return tuple((channel(i, 0), channel(i, 1), channel(i, 2)) for i in ids)


def _named(name: str, count: int) -> Classes:
    if name in ("camvid", "driving"):
        return CAMVID if name == "camvid" else DRIVING
    if name == "pascal":  # its official colours are those of the generated palette, from black on
        return Classes(PASCAL_NAMES, (_BLACK, *generated_palette(len(PASCAL_NAMES) - 1)))
    classes = Classes(SUNRGBD_NAMES, generated_palette(len(SUNRGBD_NAMES)))
    if count == len(SUNRGBD_NAMES) + 1:
        return Classes(("void", *classes.names), (_BLACK, *classes.palette))
    return classes


def _read(path: Path) -> Classes:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot read the class list {path} ({error}); expected {', '.join(NAMED)} or a "
            "file with one `name` or `name r g b` per line"
        ) from error
    if path.suffix == ".json":
        try:
            entries = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} is not valid JSON: {error}") from error
        if not isinstance(entries, list):
            raise InputError(f"{path}: expected a JSON list of classes")
        rows = [_json_row(path, entry) for entry in entries]
    else:
        lines = [line.split("#")[0].strip() for line in text.splitlines()]
        rows = [_text_row(path, line) for line in lines if line]
    generated = generated_palette(len(rows))
    return Classes(
        tuple(name for name, _ in rows),
        tuple(colour or default for (_, colour), default in zip(rows, generated, strict=True)),
    )


def _text_row(path: Path, line: str) -> tuple[str, Colour | None]:
    words = line.replace(",", " ").split()
    if len(words) > 3 and all(word.isdigit() for word in words[-3:]):
        return " ".join(words[:-3]), _colour(path, words[-3:])
    return " ".join(words), None


def _json_row(path: Path, entry: Any) -> tuple[str, Colour | None]:
    if isinstance(entry, str):
        return entry, None
    if isinstance(entry, dict) and isinstance(entry.get("name"), str):
        return entry["name"], _colour(path, entry["color"]) if "color" in entry else None
    raise InputError(f'{path}: {entry!r} is neither a name nor {{"name": ..., "color": [r, g, b]}}')


def _colour(path: Path, values: Any) -> Colour:
    try:
        red, green, blue = (int(value) for value in values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: colour {values!r} is not three numbers") from error
    if not all(0 <= value <= 255 for value in (red, green, blue)):
        raise InputError(f"{path}: colour {values!r} is outside 0-255")
    return red, green, blue

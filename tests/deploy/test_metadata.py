"""Class names, colours and the metadata that a model file records."""

from __future__ import annotations

from pathlib import Path

import pytest

from segnet_deploy.classes import CAMVID, SUNRGBD_NAMES, generated_palette, load_classes
from segnet_deploy.errors import InputError
from segnet_deploy.metadata import Metadata


def test_metadata_survives_the_round_trip() -> None:
    data = Metadata(
        *CAMVID,
        (1.5, 2, 3),
        (4, 5, 6),
        "rgb",
        "frame",
        "lowered",
        "fp16",
        32,
        "ab",
        "0f",
        {"torch": "2"},
    )
    props = data.to_props()
    assert all(isinstance(value, str) for value in props.values())
    assert Metadata.from_props(props | {"other": "x"}) == data


def test_foreign_file_gets_the_defaults() -> None:
    data = Metadata.from_props({"author": "someone"})
    assert (data.classes, data.mean, data.channel_order) == ((), (0.0, 0.0, 0.0), "bgr")


@pytest.mark.parametrize(
    "props",
    [
        {"segnet.mean": "[1, 2"},
        {"segnet.mean": "[1, 2]"},
        {"segnet.std": "[1, 0, 1]"},
        {"segnet.channel_order": '"grb"'},
        {"segnet.io": '"video"'},
        {"segnet.multiple": "0"},
        {"segnet.classes": '["a"]'},
        {"segnet.mean": "7"},
        {"segnet.mean": '["1", 2, 3]'},
        {"segnet.std": "[NaN, 1, 1]"},
        {"segnet.std": "[1e999, 1, 1]"},
        {"segnet.classes": "[1]", "segnet.palette": "[[0, 0, 0]]"},
        {"segnet.classes": '["a"]', "segnet.palette": "[[0, 0, 256]]"},
        {"segnet.classes": '["a"]', "segnet.palette": "[[0]]"},
        {"segnet.classes": "[" * 5000 + "]" * 5000},
        {"segnet.multiple": "1e3"},
        {"segnet.versions": "[]"},
        {"segnet.network": "null"},
    ],
)
def test_damaged_metadata_is_an_input_error(props: dict[str, str]) -> None:
    with pytest.raises(InputError):
        Metadata.from_props(props)


def test_known_class_lists_have_their_sizes() -> None:
    assert len(load_classes("camvid", 11).names) == 11
    assert len(SUNRGBD_NAMES) == 37
    assert len(set(load_classes("sunrgbd", 37).palette)) == 37
    assert len(set(generated_palette(256))) == 256


def test_class_files(tmp_path: Path) -> None:
    text = tmp_path / "names.txt"
    text.write_text("road 1 2 3\nside walk\n\n# nothing\n")
    assert load_classes(str(text), 2).names == ("road", "side walk")
    assert load_classes(str(text), 2).palette[0] == (1, 2, 3)
    json = tmp_path / "names.json"
    json.write_text('[{"name": "road", "color": [1, 2, 3]}, "sky"]')
    assert load_classes(str(json), 2).names == ("road", "sky")


@pytest.mark.parametrize("content", ["road 1 2 999\n", "a\nb\nc\n"])
def test_bad_class_files_are_refused(tmp_path: Path, content: str) -> None:
    text = tmp_path / "names.txt"
    text.write_text(content)
    with pytest.raises(InputError):
        load_classes(str(text), 2)
    with pytest.raises(InputError, match="missing"):
        load_classes(str(tmp_path / "missing"), 2)
    with pytest.raises(InputError, match="11 classes but the model has 12"):
        load_classes("camvid", 12)

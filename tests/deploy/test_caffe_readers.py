"""The readers of Caffe's binary and text files: what they read, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import caffe_nets
import caffe_schema
import numpy as np
import pytest

from segnet_deploy.caffe.caffemodel import read_caffemodel
from segnet_deploy.caffe.net import read_net
from segnet_deploy.caffe.prototxt import parse_prototxt, read_prototxt
from segnet_deploy.errors import InputError, SegNetError, UnsupportedModelError

WEIGHTS = {
    "conv": [np.arange(54, dtype=np.float32).reshape(2, 3, 3, 3), np.ones(2, np.float32)],
    "bn": [np.full((1, 2, 1, 1), 0.5, np.float32)] * 2,
}


def read(data: bytes, folder: Path) -> Any:
    path = folder / "net.caffemodel"
    path.write_bytes(data)
    return read_caffemodel(path)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("shape", ["new", "old"])
def test_caffemodel_of_every_age_is_read(old: bool, shape: str, tmp_path: Path) -> None:
    found = read(caffe_schema.caffemodel(WEIGHTS, old, shape), tmp_path)
    assert list(found) == ["conv", "bn"]
    for name, blobs in WEIGHTS.items():
        for blob, expected in zip(found[name], blobs, strict=True):
            assert blob.dtype == np.float32
            np.testing.assert_array_equal(blob.ravel(), expected.ravel())
    assert found["conv"][0].shape == (2, 3, 3, 3)


def test_doubles_and_values_that_are_not_packed_are_read(tmp_path: Path) -> None:
    net = caffe_schema.NetMessage()
    blob = net.layer.add(name="a").blobs.add()
    blob.shape.dim.extend([3])
    blob.double_data.extend([1.5, -2, 3])
    loose = b"".join(b"\x2d" + np.float32(v).tobytes() for v in (4, 5))  # field 5, one by one
    sizes = b"\x3a\x02\x08\x02"  # shape { dim: 2 }, not packed
    message = sizes + loose
    layer = b"\x0a\x01b\x3a" + bytes([len(message)]) + message
    data = net.SerializeToString() + b"\xa2\x06" + bytes([len(layer)]) + layer
    found = read(data, tmp_path)
    assert [found[name][0].tolist() for name in "ab"] == [[1.5, -2, 3], [4, 5]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5.*BINARYPROTO"),
        (caffe_nets.HEAD.encode(), "is a text file"),
        (b"\xa2\x06\xff\xff\xff\xff\x7f\x00", "states 34359738367 bytes but only 1 follow"),
        (b"\xa2\x06" + b"\xff" * 11, "more than 10 bytes"),
        (b"\x00\x01\x02", "0 is not a field number"),
        (b"\x0b\x0b\x0b\x00", "wire type 3"),
        (b"\x08\x01\x10\x00", "no layer with weights"),
    ],
)
def test_file_that_is_no_caffemodel_is_refused(data: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read(data, tmp_path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_caffemodel(tmp_path / "none.caffemodel")


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    data = caffe_schema.caffemodel({"conv": WEIGHTS["conv"]})
    for end in range(4, len(data) - 1, 7):
        with pytest.raises(InputError):
            read(data[:end], tmp_path)


@pytest.mark.parametrize("sizes", [[2, 2], [1 << 20, 1 << 20], [-1, 4], [1 << 40]])
def test_absurd_sizes_are_refused_before_memory_is_taken(sizes: list[int], tmp_path: Path) -> None:
    net = caffe_schema.NetMessage()
    blob = net.layer.add(name="conv").blobs.add()
    blob.shape.dim.extend(sizes)
    blob.data.extend([1.0, 2.0])
    with pytest.raises(InputError, match="blob 0 of layer 'conv': its shape"):
        read(net.SerializeToString(), tmp_path)


def test_damaged_caffemodels_are_read_or_refused(tmp_path: Path) -> None:
    data, rng = caffe_schema.caffemodel(WEIGHTS), np.random.default_rng(0)
    messages = []
    for _ in range(400):
        changed = bytearray(data)
        for at in rng.integers(0, len(data), rng.integers(1, 5)):
            changed[at] = rng.integers(0, 256)
        try:
            read(bytes(changed[: rng.integers(1, len(data) + 1)]), tmp_path)
        except InputError as error:
            messages.append(str(error))
    assert 100 < len(messages) < 400
    assert not any("\n" in message for message in messages)


def test_text_format_has_all_its_spellings() -> None:
    message = parse_prototxt(
        """
        a: 1 a: -2, b: "x \\"y\\"" 'z'; c { d: true } c: < d: .5e1 >
        e: [1, 2,
            3] # comment { "
        f: [{ g: WORD }, { g: 0.25f }]
        """,
        "net.prototxt",
    )
    assert message.integers("a") == [1, -2]
    assert message.text("b") == 'x "y"z'
    assert [m.fields[0].value for m in message.messages("c")] == ["true", ".5e1"]
    assert message.message("c").real("d", 0) == 5
    assert message.integers("e") == [1, 2, 3]
    assert [m.text("g") for m in message.messages("f")] == ["WORD", "0.25f"]
    assert message.messages("f")[1].real("g", 0) == 0.25
    assert (message.integer("none", 7), message.flag("none", True)) == (7, True)


@pytest.mark.parametrize("name", list(caffe_nets.NETS))
def test_text_equals_what_protobufs_library_reads(name: str) -> None:
    text = caffe_nets.NETS[name]
    expected = caffe_schema.parse(text)
    found = parse_prototxt(text, name)
    for kind in ("layer", "layers"):
        layers = found.messages(kind)
        assert [m.text("name") for m in layers] == [m.name for m in getattr(expected, kind)]
        assert [m.texts("bottom") for m in layers] == [
            list(m.bottom) for m in getattr(expected, kind)
        ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb { c: 2\n", "ends before '}'"),
        ("a: 1\n}", "line 2: found '}' where the name"),
        ("a 1", "line 1: found '1' after a"),
        ("a: 1\nb: }", "line 2: found '}' where a value"),
        ("a: 1\n\n\x01", "line 3: unexpected character"),
        ('a: "open', "unexpected character"),
        ("a: [1 2]", "in a list"),
        ("a: ${LABELS}", "line 1: unexpected character .*template"),
        ("a {" * 40 + "}" * 40, "nested more than 32 deep"),
        ("a {" * 100_000, "nested more than 32 deep"),
    ],
)
def test_damaged_text_names_the_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_prototxt(text, "net.prototxt")


def test_binary_file_given_as_prototxt_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_bytes(caffe_schema.caffemodel(WEIGHTS))
    with pytest.raises(InputError, match=r"is not text|unexpected character"):
        read_prototxt(path)


def test_damaged_prototxts_are_read_or_refused(tmp_path: Path) -> None:
    path, rng = tmp_path / "net.prototxt", np.random.default_rng(1)
    letters = list("{}:\"'<>[] 10-#ax\n\x00é")
    messages = []
    for number in range(400):
        text = list(caffe_nets.NETS[("segnet", "deconvnet")[number % 2]])
        for at in rng.integers(0, len(text), rng.integers(1, 6)):
            text[at] = letters[rng.integers(len(letters))]
        path.write_text("".join(text))
        try:
            read_net(path)
        except SegNetError as error:
            messages.append(str(error))
    assert 50 < len(messages) < 400
    assert not any("\n" in message for message in messages)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ('net: "train.prototxt" base_lr: 0.1', InputError, "describes no layer"),
        ('layers { layer { name: "a" type: "conv" } }', UnsupportedModelError, "2013"),
        ('layer { name: "a" }', InputError, "has no type"),
        ('layer { name: "a" type: "ReLU" bottom: "b" top: "c" }', InputError, "has no input"),
        ('layer { name: "a" type: "ReLU" top: "c" }', UnsupportedModelError, "'a' .* no bottom"),
        ('input: "d" input_dim: 1 layer { type: "ReLU" bottom: "d" top: "c" }', InputError, "1 3"),
        (
            'input: "d" layer { name: "l" type: "SoftmaxWithLoss" bottom: "d" top: "x" } '
            'layer { name: "r" type: "ReLU" bottom: "x" top: "c" }',
            UnsupportedModelError,
            "'r' .* reads 'x' of layer 'l'",
        ),
    ],
)
def test_text_that_is_no_net_is_refused(
    text: str, kind: type[Exception], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    with pytest.raises(kind, match=message):
        read_net(path)


def test_rules_of_phases_and_stages_choose_the_layers(tmp_path: Path) -> None:
    rules = {
        "a": "",
        "b": "include { phase: TRAIN }",
        "c": "include { phase: TEST }",
        "d": "exclude { phase: TRAIN }",
        "e": "exclude { phase: TEST }",
        "f": 'include { stage: "deploy" }',
        "g": 'include { not_stage: "deploy" }',
        "h": "include { min_level: 1 }",
    }
    layers = "".join(
        f'layer {{ name: "{name}" type: "ReLU" bottom: "data" top: "{name}" {rule} }}\n'
        for name, rule in rules.items()
    )
    path = tmp_path / "net.prototxt"
    path.write_text(caffe_nets.HEAD + layers)
    assert [layer.name for layer in read_net(path).layers] == ["a", "c", "d", "g"]

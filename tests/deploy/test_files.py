"""Writing files: completely or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from segnet_deploy.errors import EngineError, InputError
from segnet_deploy.files import atomic_path, atomic_write, sha256
from segnet_deploy.progress import naming


def test_atomic_write_replaces_and_leaves_no_temporary(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    atomic_write(target, b"one")
    atomic_write(target, b"two")
    assert target.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [target]


def test_failure_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.onnx"
    target.write_bytes(b"old")

    def fail() -> None:
        with atomic_path(target) as temporary:
            assert temporary.suffix == ".onnx"
            temporary.write_bytes(b"half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_errors_and_reports_name_the_file_that_is_written(tmp_path: Path) -> None:
    target, reported = tmp_path / "a.onnx", []

    def fail() -> None:
        with atomic_path(target) as temporary:
            shown = naming(lambda text, *_: reported.append(text), temporary, target)
            shown(f"checking {temporary}", 1, 2)
            raise EngineError(f"cannot load {temporary}")

    with pytest.raises(EngineError) as caught:
        fail()
    assert str(caught.value) == f"cannot load {target}"
    assert reported == [f"checking {target}"]


def test_refused_write_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no/such"):
        atomic_write(tmp_path / "no/such/a.bin", b"x")

    def full() -> None:
        with atomic_path(tmp_path / "a.bin"):
            raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="No space left"):
        full()
    assert list(tmp_path.iterdir()) == []


def test_sha256_of_known_bytes(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert sha256(tmp_path / "f").startswith("ba7816bf8f01cfea414140de5dae2223")

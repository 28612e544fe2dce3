"""segnet-batch with the real Ray and pyarrow: exact, exactly once, past killed processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from segnet_deploy.cli import batch
from segnet_deploy.scenes import draw_scene
from segnet_deploy.segmenter import load

ENGINE = ["--threads", "1", "--runtime", "onnxruntime"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with 24 images."""
    folder = tmp_path_factory.mktemp("ray") / "images"
    folder.mkdir()
    for seed in range(24):
        cv2.imwrite(str(folder / f"{seed:02d}.png"), draw_scene(seed, 45, 61).frame)
    return folder


def rows_of(out: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet

    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["complete"]
    files = [out / shard["file"] for shard in manifest["shards"]]
    return [row for file in files for row in pyarrow.parquet.read_table(file).to_pylist()]


def check_rows(rows: list[dict[str, Any]], pictures: Path, model: Path) -> None:
    """Compare with one engine in this process: each picture once, label maps to the byte."""
    assert [row["path"] for row in rows] == [str(path) for path in sorted(pictures.iterdir())]
    with load(model, "onnxruntime", threads=1) as segmenter:
        for row in rows:
            labels = segmenter.segment(cv2.imread(row["path"]))
            assert row["labels"] == cv2.imencode(".png", labels)[1].tobytes()
            assert row["histogram"] == np.bincount(labels.ravel(), minlength=5).tolist()
            assert (row["height"], row["width"]) == labels.shape


@pytest.mark.needs("pyarrow")
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_parquet_in_and_out_of_a_uri(
    scheme: str, pictures: Path, small_model: Path, tmp_path: Path
) -> None:
    import pyarrow
    import pyarrow.parquet

    data: list[Any] = [path.read_bytes() for path in sorted(pictures.iterdir())]
    data[3] = b"no image"
    data[5] = None
    structures = [{"bytes": content, "path": "x"} for content in data]
    source = tmp_path / "in.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"picture": structures}), source, row_group_size=7)
    out = tmp_path / "out"
    words = ["--engine", f"{scheme}{small_model}", "--source", f"{scheme}{tmp_path}/*.parquet"]
    words += ["-o", f"{scheme}{out}", "--no-ray", *ENGINE]
    assert batch.main(words) == 1
    assert batch.main([*words, "--image-column", "picture"]) == 1
    rows = rows_of(out)
    assert [int(row["part"]) for row in rows] == [n for n in range(24) if n not in (3, 5)]
    assert len(list(out.glob("part-*.parquet"))) == 4
    assert not list(out.glob(".*"))
    errors = (out / "errors.csv").read_text()
    assert "cannot decode image" in errors
    assert "row 000005" in errors
    with load(small_model, "onnxruntime", threads=1) as segmenter:
        for row in rows:
            frame = cv2.imdecode(np.frombuffer(data[int(row["part"])], np.uint8), 1)
            labels = cv2.imencode(".png", segmenter.segment(frame))[1].tobytes()
            assert row["labels"] == labels


@pytest.mark.needs("pyarrow")
def test_names_of_uris_hide_passwords_and_queries() -> None:
    from segnet_deploy.batch.storage import join, plain, storage_of

    assert plain("s3://key:secret@bucket/a.png?region=x") == "s3://bucket/a.png"
    assert join("mock:///a/?x=1", "b", "c") == "mock:///a/b/c?x=1"
    storage = storage_of("mock:///a")
    storage.write_bytes("mock:///a/b/c.bin", b"123")
    assert storage.files("mock:///a", recursive=True) == {"mock:///a/b/c.bin": 3}
    assert list(storage.glob("mock:///a/*/c.*")) == ["mock:///a/b/c.bin"]
    assert storage.read_bytes("mock:///a/b/c.bin") == b"123"
    assert storage.kind("mock:///a/nothing") is None


@pytest.mark.needs("ray", "pyarrow")
def test_two_workers_give_the_same_rows_and_survive_a_kill(
    pictures: Path, small_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ["--engine", str(small_model), "--source", str(pictures), "-o", str(out), *ENGINE]
    words += ["--workers", "2", "--shard-size", "1"]
    first = subprocess.Popen([sys.executable, "-m", "segnet_deploy.cli.batch", *words])
    wait_for_records(out, 2, first)
    workers = actors(first.pid)
    first.kill()  # the driver; its cluster ends by itself
    first.wait()
    while any(map(is_running, workers)):
        time.sleep(0.1)
    done = len(list(out.glob("_shards/*.json")))
    assert 2 <= done < 24
    second = subprocess.Popen(
        [sys.executable, "-m", "segnet_deploy.cli.batch", *words], stderr=subprocess.PIPE, text=True
    )
    wait_for_records(out, done + 2, second)
    os.kill(actors(second.pid)[0], signal.SIGKILL)
    error = second.communicate()[1]
    assert second.returncode == 0, error
    assert f"{done} of 24 shards were completed before" in error
    check_rows(rows_of(out), pictures, small_model)


@pytest.mark.needs("ray", "pyarrow")
def test_corrupt_engine_is_one_error(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = tmp_path / "bad.trt"  # an ONNX file is checked before a worker starts
    engine.write_bytes(b"no model")
    words = ["--engine", str(engine), "--source", str(pictures), "-o", str(tmp_path / "out")]
    assert batch.main([*words, *ENGINE, "--workers", "2", "--shard-size", "2"]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if "rror" in line]
    assert len(errors) == 1, errors
    assert errors[0].startswith("error: bad.trt")


@pytest.mark.needs("ray", "pyarrow")
def test_cluster_that_does_not_answer_is_one_line(
    pictures: Path, small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--engine", str(small_model), "--source", str(pictures), "-o", str(tmp_path / "out")]
    assert batch.main([*words, *ENGINE, "--address", "127.0.0.1:1"]) == 1
    assert "cannot connect to the Ray cluster at 127.0.0.1:1" in capsys.readouterr().err


def wait_for_records(out: Path, count: int, process: subprocess.Popen[Any]) -> None:
    while len(list(out.glob("_shards/*.json"))) < count:
        assert process.poll() is None, "it ended early"
        time.sleep(0.02)


def actors(driver: int) -> list[int]:
    """Return the process ids of the workers of a driver's cluster."""
    return [pid for pid, title in descendants(driver) if "ShardActor" in title]


def is_running(pid: int) -> bool:
    """Return whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def descendants(parent: int) -> Iterator[tuple[int, str]]:
    """Yield process ids and titles of all processes below `parent`."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            title = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if int(status[1]) == parent:
            yield int(folder.name), title
            yield from descendants(int(folder.name))

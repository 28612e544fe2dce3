"""segnet-batch without Ray: shards, outputs, going on after interruptions, bad input."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import cv2
import pytest
import videos

from segnet_deploy.batch import archive, storage
from segnet_deploy.batch.archive import find_shards
from segnet_deploy.batch.segment_archive import BatchOptions, segment_archive
from segnet_deploy.cli import batch, predict
from segnet_deploy.errors import InputError
from segnet_deploy.scenes import draw_scene

LOCAL = ["--no-ray", "--threads", "1", "--runtime", "onnxruntime"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with ten images, one of them damaged, and one file of another kind."""
    folder = tmp_path_factory.mktemp("archive") / "images"
    folder.mkdir()
    for seed in range(9):
        cv2.imwrite(str(folder / f"{seed}.png"), draw_scene(seed, 45, 61).frame)
    (folder / "bad.png").write_bytes((folder / "0.png").read_bytes()[:500])
    (folder / "notes.txt").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def expected(pictures: Path, small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what segnet-predict writes for them."""
    out = tmp_path_factory.mktemp("predict")
    engine = ["--engine", str(small_model), "--runtime", "onnxruntime", "--threads", "1"]
    assert predict.main([*engine, str(pictures), "-o", str(out)]) == 1
    return out


def command(model: Path, out: Path, *arguments: str | Path) -> int:
    words = ["--engine", str(model), "-o", str(out), *LOCAL, "--format", "webdataset"]
    return batch.main([*words, "--source", *map(str, arguments)])


def manifest(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return found


def error_rows(out: Path) -> list[list[str]]:
    return list(csv.reader((out / "errors.csv").open(newline="")))[1:]


def tar_members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def test_label_pngs_are_those_of_predict(
    pictures: Path,
    expected: Path,
    small_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert command(small_model, out, pictures, "--format", "png", "--shard-size", "4") == 1
    wanted = {p.name: p.read_bytes() for p in expected.glob("*_labels.png")}
    assert len(wanted) == 9
    assert {p.name: p.read_bytes() for p in out.glob("*.png")} == wanted
    errors = capsys.readouterr().err
    assert "bad.png, it is damaged" in errors
    assert "1 files left out" in errors
    assert [row[0] for row in error_rows(out)] == [str(pictures / "bad.png")]
    found = manifest(out)
    assert found["complete"]
    assert found["totals"]["frames"] == 9
    assert sum(found["totals"]["histogram"]) == 9 * 45 * 61
    assert [shard["frames"] for shard in found["shards"]] == [4, 4, 1]


def test_webdataset_of_a_tar_has_its_keys(
    pictures: Path, expected: Path, small_model: Path, tmp_path: Path
) -> None:
    members = {f"a/{n}.left.png": (pictures / f"{n}.png").read_bytes() for n in range(3)}
    members["a/3.left.png"] = b"no image"
    source = write_tar(tmp_path / "in.tar", members | {"a/0.json": b"{}"})
    out = tmp_path / "out"
    assert command(small_model, out, source) == 1
    results = tar_members(out / "part-000000.tar")
    assert set(results) == {f"a/{n}.left.labels.{s}" for n in range(3) for s in ("png", "json")}
    for n in range(3):
        assert results[f"a/{n}.left.labels.png"] == (expected / f"{n}_labels.png").read_bytes()
        facts = json.loads(results[f"a/{n}.left.labels.json"])
        assert (facts["path"], facts["part"]) == (str(source), f"a/{n}.left.png")
        assert (facts["height"], facts["width"], sum(facts["histogram"])) == (45, 61, 45 * 61)
        assert facts["engine"] == manifest(out)["settings"]["engine"]
    assert [row[1] for row in error_rows(out)] == ["a/3.left.png"]


def test_video_frames_have_numbers_and_times(small_model: Path, tmp_path: Path) -> None:
    video = videos.write(tmp_path / "drive.mp4", videos.noisy(12))
    one, other = tmp_path / "one", tmp_path / "other"
    assert command(small_model, one, video, "--batch", "5") == 0
    engine = ["--engine", str(small_model), "--runtime", "onnxruntime", "--threads", "1"]
    assert predict.main([*engine, str(video), "-o", str(other)]) == 0
    results = tar_members(one / "part-000000.tar")
    for number in range(12):
        labels = (other / f"drive_labels/{number:06d}.png").read_bytes()
        assert results[f"drive/{number:06d}.labels.png"] == labels
        seconds = json.loads(results[f"drive/{number:06d}.labels.json"])["seconds"]
        assert seconds == pytest.approx(number / 10)


def test_damaged_containers_are_reported_and_the_rest_is_done(
    pictures: Path, small_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    videos.add_noise(videos.write(folder / "a.mp4", videos.noisy(40)))
    members = {f"{n}.png": (pictures / f"{n}.png").read_bytes() for n in range(4)}
    videos.cut(write_tar(folder / "b.tar", members))
    write_tar(folder / "c.tar", {"readme.txt": b""})
    (folder / "d.tar").write_bytes(b"no tar")
    shutil.copy(pictures / "0.png", folder / "e.png")
    out = tmp_path / "out"
    assert command(small_model, out, folder, "--format", "png") == 1
    reasons = {Path(path).name: reason for path, _, reason in error_rows(out)}
    assert "of 40 frames were segmented" in reasons["a.mp4"]
    assert "damaged after" in reasons["b.tar"]
    assert "contains no image" in reasons["c.tar"]
    assert "damaged after 0 images" in reasons["d.tar"]
    assert (out / "e_labels.png").is_file()
    assert 0 < len(list((out / "b_labels").iterdir())) < 4


def test_shards_are_deterministic_and_take_a_file_once(pictures: Path, tmp_path: Path) -> None:
    nested = tmp_path / "x/y"
    nested.mkdir(parents=True)
    for name in ("b.png", "a.png", ".hidden.png", "a.jpg"):
        shutil.copy(pictures / "0.png", nested / name)
    shards = find_shards([nested, f"{tmp_path}/**/*.png", nested / "a.png"], 2)
    assert [len(shard.paths) for shard in shards] == [2, 1]
    assert [Path(path).name for shard in shards for path in shard.paths] == [
        "a.jpg",
        "a.png",
        "b.png",
    ]
    assert [name for shard in shards for name in shard.names] == ["a", "a-2", "b"]
    again = find_shards([nested, f"{tmp_path}/**/*.png"], 2)
    assert archive.digest(again) == archive.digest(shards)
    assert archive.digest(find_shards([nested], 3)) != archive.digest(shards)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.png", ["top.png"]),
        ("**/*.png", ["x/y/deep.png", "x/one.png", "top.png"]),
        ("x/*/d???.png", ["x/y/deep.png"]),
        ("x/[a-o]*.png", ["x/one.png"]),
        ("**/y/**", ["x/y/deep.png"]),
    ],
)
def test_pattern_finds_files(pattern: str, found: list[str], tmp_path: Path) -> None:
    for name in ("top.png", "x/one.png", "x/y/deep.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    files = storage.LocalStorage().glob(f"{tmp_path}/{pattern}")
    assert sorted(files) == sorted(f"{tmp_path}/{name}" for name in found)


def test_interrupted_run_goes_on_with_what_is_missing(
    pictures: Path, small_model: Path, tmp_path: Path
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    options = BatchOptions(
        "webdataset", threads=1, shard_size=2, runtime="onnxruntime", use_ray=False
    )
    segment_archive(small_model, [pictures], whole, options)
    segment_archive(small_model, [pictures], out, options)
    (out / "_shards/000001.json").unlink()  # its output was written, but not recorded
    (out / "part-000002.tar").write_bytes(b"cut")  # by a power failure
    (out / "_shards/000003.json").write_text("")
    (out / ".part-000001-abc.tar").touch()  # left by a killed worker
    done = segment_archive(small_model, [pictures], out, options)
    assert (done.frames, done.shards, done.skipped, len(done.errors)) == (9, 3, 2, 1)
    assert not list(out.glob(".part*"))
    labels = [
        {
            name: data
            for part in sorted(folder.glob("part-*.tar"))
            for name, data in tar_members(part).items()
            if name.endswith("png")
        }
        for folder in (whole, out)
    ]
    assert labels[0] == labels[1]
    assert len(labels[0]) == 9


def test_killed_run_goes_on_and_has_each_input_once(small_model: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for seed in range(60):
        cv2.imwrite(str(folder / f"{seed:02d}.png"), draw_scene(seed, 45, 61).frame)
    words = ["--engine", str(small_model), "--source", str(folder), "-o", str(out), *LOCAL]
    words += ["--shard-size", "3", "--format", "webdataset"]
    for parts in (2, 9):
        process = subprocess.Popen([sys.executable, "-m", "segnet_deploy.cli.batch", *words])
        while len(list(out.glob("_shards/*.json"))) < parts and process.poll() is None:
            os.sched_yield()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not manifest(out)["complete"]
    assert batch.main(words) == 0
    facts = [
        json.loads(data)
        for part in sorted(out.glob("part-*.tar"))
        for name, data in tar_members(part).items()
        if name.endswith(".json")
    ]
    assert sorted(fact["path"] for fact in facts) == sorted(map(str, folder.iterdir()))
    assert sum(shard["frames"] for shard in manifest(out)["shards"]) == 60


def test_stats_only_writes_histograms(pictures: Path, small_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    one = pictures / "1.png"
    assert command(small_model, out, one, "--stats-only") == 0
    assert set(tar_members(out / "part-000000.tar")) == {"1.labels.json"}


def test_dry_run_counts_and_writes_nothing(
    pictures: Path, small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(pictures, folder)
    videos.write(folder / "drive.mp4", videos.noisy(12))
    write_tar(folder / "x.tar", {"0.png": (pictures / "0.png").read_bytes(), "0.txt": b""})
    assert command(small_model, out, folder, "--dry-run") == 0
    text = capsys.readouterr().out
    assert text.startswith("23 inputs in 3 shards\n")
    assert "s a frame" in text
    assert not out.exists()


def test_many_videos_are_estimated_by_their_bytes(tmp_path: Path) -> None:
    from segnet_deploy.batch.estimate import count_inputs

    for number in range(8):
        videos.write(tmp_path / f"{number}.mp4", videos.noisy(10))
    assert count_inputs(find_shards([tmp_path])) == (80, False)


BAD = {
    "missing": (["nowhere/*.png"], "contains no image"),
    "no_such": (["nowhere"], "no such input: .*nowhere; expected images"),
    "empty": (["empty"], "empty contains no image, video, tar or Parquet file"),
    "scheme": (["s4://bucket/x.png"], r"cannot open s4://bucket.*expected a path, or a URI"),
    "output": (["empty", "-o", "empty"], "is also an input|contains no image"),
    "file": (["PICTURE", "-o", "PICTURE"], "is a file; expected a folder"),
    "workers": (["PICTURE", "--workers", "2"], r'pip install "segnet-deploy\[ray\]"'),
    "stats": (["PICTURE", "--stats-only", "--format", "png"], "choose another format"),
    "batch": (["PICTURE", "--batch", "0"], "--batch 0; expected more than 0"),
    "engine": (["PICTURE", "--engine", "PICTURE"], "is not an ONNX file"),
    "no_engine": (["PICTURE", "--engine", "gone.onnx"], "no such file: .*gone.onnx"),
}


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=pytest.mark.needs("pyarrow")) if c == "scheme" else c for c in BAD],
)
def test_bad_input_is_one_line_and_writes_nothing(
    case: str,
    pictures: Path,
    small_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    words, message = BAD[case]
    words = [str(pictures / "0.png") if word == "PICTURE" else word for word in words]
    out = tmp_path / "out"
    assert command(small_model, out, *words) == (2 if case == "batch" else 1)
    lines = capsys.readouterr().err.strip().splitlines()
    assert [line.startswith("error: ") for line in lines] == [True], lines
    assert re.search(message, lines[0]), lines
    assert not out.exists()


def test_results_of_another_run_are_not_mixed(
    pictures: Path, small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, one = tmp_path / "out", pictures / "1.png"
    assert command(small_model, out, one, "--format", "png") == 0
    before = manifest(out)
    assert command(small_model, out, one, "--format", "png") == 0  # nothing left to do
    for changed in (["--fit", "letterbox"], ["--batch", "2"], ["--source", f"{pictures}/2.png"]):
        assert command(small_model, out, one, "--format", "png", *changed) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert "has the results of another run" in error
        assert "choose another -o" in error
    assert manifest(out) == before
    (out / "manifest.json").write_text("{}")
    assert command(small_model, out, one, "--format", "png") == 1
    assert "is no manifest of segnet-batch" in capsys.readouterr().err


def test_output_that_cannot_be_written_is_one_error_and_goes_on_later(
    pictures: Path, small_model: Path, tmp_path: Path
) -> None:
    """With a limit of file sizes in a child, as on a full disk."""
    out = tmp_path / "out"
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from segnet_deploy.cli import batch\n"
        "limit = resource.RLIM_INFINITY if sys.argv[1] == 'none' else int(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))\n"
        "sys.exit(batch.main(sys.argv[2:]))\n"
    )
    words = ["--engine", str(small_model), "--source", str(pictures), "-o", str(out), *LOCAL]
    words += ["--format", "webdataset", "--shard-size", "9"]
    for limit, status in (("6000", 1), ("none", 1)):
        done = subprocess.run(
            [sys.executable, "-c", code, limit, *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == status, done.stderr
        assert "Traceback" not in done.stderr
        if limit != "none":
            assert "error: cannot write" in done.stderr.splitlines()[-1]
    assert manifest(out)["totals"]["frames"] == 9
    with pytest.raises(InputError, match="expected parquet, png, webdataset"):
        segment_archive(small_model, [pictures], out, BatchOptions("gif"))

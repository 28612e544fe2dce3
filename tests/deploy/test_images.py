"""Images: damage, depth, orientation, and what a folder scan takes and leaves out."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from sleep_engine import sleeping

from segnet_deploy.camera import Camera
from segnet_deploy.camera.sources.base import SourceOptions
from segnet_deploy.camera.sources.find import find_source
from segnet_deploy.cli import camera as camera_cli
from segnet_deploy.cli import eval as eval_command
from segnet_deploy.cli import predict
from segnet_deploy.errors import InputError, UnreadableInputError
from segnet_deploy.frames import IMAGE_SUFFIXES, VIDEO_SUFFIXES, find_inputs, is_video, read_image
from segnet_deploy.frames.damage import find_damage
from segnet_deploy.quant.quantiser import read_calibration
from segnet_deploy.scenes import draw_scene

SCENE = draw_scene(1, 60, 80).frame


def encoded(suffix: str, *flags: int) -> bytes:
    return bytes(cv2.imencode(suffix, SCENE, list(flags))[1].tobytes())


def saved(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    stream = io.BytesIO()
    (image or Image.fromarray(SCENE[..., ::-1].copy())).save(stream, kind, **options)
    return stream.getvalue()


WHOLE: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: encoded(".jpg"),
    "progressive jpeg": lambda: encoded(".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "jpeg with restarts": lambda: encoded(".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
    "png": lambda: encoded(".png"),
    "lzw tiff": lambda: encoded(".tiff"),
    "deflate tiff": lambda: saved("TIFF", compression="tiff_adobe_deflate"),
}


def noise(data: bytes) -> bytes:
    middle, count = len(data) // 2, len(data) // 8
    return data[:middle] + np.random.default_rng(1).bytes(count) + data[middle + count :]


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


@pytest.mark.parametrize("damage", [noise, cut])
@pytest.mark.parametrize("kind", WHOLE)
def test_image_damaged_in_the_middle_is_refused(
    kind: str, damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    if "jpeg" in kind and damage is noise:
        pytest.importorskip("simplejpeg")
    path, data = tmp_path / "image", WHOLE[kind]()
    path.write_bytes(data)
    assert find_damage(data) is None
    assert read_image(path).shape == SCENE.shape
    path.write_bytes(damage(data))
    with pytest.raises(UnreadableInputError, match="cannot decode image"):
        read_image(path)


def test_kinds_that_cameras_and_programs_write_are_no_damage() -> None:
    image = Image.fromarray(SCENE[..., ::-1].copy())
    jpegs = [saved("JPEG", subsampling=value) for value in range(3)]
    jpegs += [saved("JPEG", image.convert(mode)) for mode in ("L", "CMYK")]
    jpegs += [encoded(".jpg") + b"ftypmp42 \xff\xda and a video"]
    modes = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK")
    tiffs = [saved("TIFF", image.convert(mode), compression="tiff_lzw") for mode in modes[1:]]
    tiffs += [saved("TIFF", image.convert("1"), compression="group4"), saved("TIFF")]
    tiffs += [saved("TIFF", compression=name) for name in ("packbits", "jpeg")]
    pngs = [saved("PNG", image.convert(mode)) for mode in modes[:-1]]
    assert [find_damage(data) for data in jpegs + tiffs + pngs] == [None] * 22
    corrected = bytearray(encoded(".png"))
    corrected[45] ^= 1  # a changed byte of the pixels
    assert "checksum" in str(find_damage(bytes(corrected)))


def test_damaged_images_are_counted_and_the_others_done_by_each_command(
    small_model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, engine = data / "images", ["--engine", str(small_model), "--runtime", "onnxruntime"]
    (images / "1.png").write_bytes(noise((images / "1.png").read_bytes()))
    assert predict.main([*engine, str(images), "-o", str(tmp_path / "out")]) == 1
    assert "error: 1 of 3 inputs could not be read" in capsys.readouterr().err
    assert len(list((tmp_path / "out").iterdir())) == 4
    assert eval_command.main([*engine, "--data", str(data)]) == 1
    captured = capsys.readouterr()
    assert ": 2 frames" in captured.out
    assert "error: 1 of 3 frames could not be read" in captured.err
    assert camera_cli.main([*engine, "--source", str(images), "--every-frame"]) == 1
    assert f"error: {images} is damaged: 2 of 3 frames could be read" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"1 of 3 calibration images cannot be read.*1\.png"):
        read_calibration(images, 3)


def test_eval_without_a_readable_frame_is_an_error(
    small_model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (data / "images").iterdir():
        path.write_bytes(b"no image")
    assert eval_command.main(["--engine", str(small_model), "--data", str(data)]) == 1
    assert "error: none of the 3 frames can be read" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_deep_image_is_scaled_by_its_real_range(bits: int, suffix: str, tmp_path: Path) -> None:
    grey = np.linspace(0, (1 << bits) - 1, 300).astype(np.uint16).reshape(10, 30)
    cv2.imwrite(str(tmp_path / f"deep{suffix}"), grey)
    image = read_image(tmp_path / f"deep{suffix}")
    assert image.dtype == np.uint8
    assert np.array_equal(image, np.repeat(grey[..., None] >> (bits - 8), 3, 2))


def test_image_of_other_pixels_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.tiff"), np.full((4, 5, 3), 0.5, np.float32))
    with pytest.raises(UnreadableInputError, match="float32 pixels; expected 8 or 16 bits"):
        read_image(tmp_path / "a.tiff")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int, kind: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x112] = orientation
    upright = {
        1: SCENE,
        2: SCENE[:, ::-1],
        3: SCENE[::-1, ::-1],
        4: SCENE[::-1],
        5: SCENE.transpose(1, 0, 2),
        6: np.rot90(SCENE, -1),
        7: SCENE[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(SCENE, 1),
    }[orientation]
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    (tmp_path / "a").write_bytes(saved(kind, exif=exif, **options))
    image = read_image(tmp_path / "a")
    assert image.shape == upright.shape
    assert np.abs(image.astype(int) - upright).mean() < 1


def test_folder_scan_says_what_it_leaves_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.JFIF", "b.pgm", "c.m4v", "d.mts", "notes.txt", "e.txt", "f.raw", "g", ".h"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "more.png").mkdir()
    reported: list[str] = []
    found = find_inputs([tmp_path], lambda text, *_: reported.append(text))
    assert [path.name for path in found] == ["a.JFIF", "b.pgm", "c.m4v", "d.mts"]
    assert [path.name for path in found if is_video(path)] == ["c.m4v", "d.mts"]
    left_out = "4 files (2 .txt, 1 .raw, 1 without suffix) and 1 folder left out"
    assert reported == [f"{tmp_path}: {left_out}, no image or video by name"]
    logger = logging.getLogger("segnet_deploy.camera")
    logger.propagate = True
    with caplog.at_level(logging.INFO, logger.name):
        find_source(str(tmp_path))
    assert "6 files (2 .txt, 1 .m4v, 1 .mts, 1 .raw, 1 without suffix)" in caplog.text
    (tmp_path / "more.png" / "x.csv").write_bytes(b"")
    with pytest.raises(InputError, match=r"contains no image or video, only 1 file \(1 \.csv\)"):
        find_inputs([tmp_path / "more.png"])


def test_given_file_is_read_whatever_its_suffix(
    small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photo.dat").write_bytes(encoded(".png"))
    (tmp_path / "notes.txt").write_text("no image")
    words = ["--engine", str(small_model), str(tmp_path / "photo.dat"), str(tmp_path / "notes.txt")]
    assert predict.main([*words, "-o", str(tmp_path / "out")]) == 1
    assert "cannot open" in capsys.readouterr().err
    assert len(list((tmp_path / "out").iterdir())) == 2
    assert not IMAGE_SUFFIXES & VIDEO_SUFFIXES


def test_folder_with_a_damaged_image_goes_on_in_the_camera(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(encoded(".jpg"))
    (tmp_path / "1.jpg").write_bytes(cut(encoded(".jpg")))
    source = find_source(str(tmp_path), SourceOptions(paced=False))
    camera = Camera(lambda: sleeping(0), source, every_frame=True)
    assert [result.sequence for result in camera.results()] == [0, 2]
    assert "2 of 3 frames" in str(camera.damage())

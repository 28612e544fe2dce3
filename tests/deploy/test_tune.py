"""segnet-tune: what is measured, what the budget permits, and the file that it writes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from documents import validated

from segnet_deploy import load
from segnet_deploy.cli.tune import main, parse_bytes
from segnet_deploy.conversion.convert import convert
from segnet_deploy.errors import InputError, UsageError
from segnet_deploy.frames import write_png
from segnet_deploy.metadata import Metadata
from segnet_deploy.progress import silent
from segnet_deploy.runtimes.model_file import ModelFile, load_model, save_model
from segnet_deploy.runtimes.tuned_choice import KEY, read_choice
from segnet_deploy.scenes import draw_scene
from segnet_deploy.tuning.choice import drop, over_budget, over_memory, pareto_front, worst_class
from segnet_deploy.tuning.race import ROUNDS, RUNS
from segnet_deploy.tuning.result import Candidate, TuneResult, read_result
from segnet_deploy.tuning.settings import TuneSettings
from segnet_deploy.tuning.tune import tune
from segnet_deploy.tuning.variants import FP32, INT8, make_variant

SETTINGS = TuneSettings(calibration="calib", data="data")


def candidate(variant: str, seconds: float, **values: Any) -> Candidate:
    found = Candidate(
        variant=variant, precision="int8", file="f", runtime="openvino", model_bytes=1
    )
    found.screened = [seconds, 2 * seconds]
    for name, value in values.items():
        setattr(found, name, value)
    return found


@pytest.mark.parametrize(
    ("values", "settings", "words"),
    [
        ({"agreement": 0.9, "mean_iou": 0.596}, {}, ""),
        ({"agreement": 0.9, "mean_iou": 0.594}, {}, "loses 0.60 points of mIoU, over 0.5"),
        ({"agreement": 0.9, "mean_iou": 0.7}, {"min_agreement": 0.95}, "keeps 90.00%"),
        ({"agreement": 0.94}, {"data": None}, "keeps 94.00% of the labels, under 95.00%"),
        ({"agreement": 0.96}, {"data": None}, ""),
    ],
)
def test_budget_refuses_by_its_limits(
    values: dict[str, float], settings: dict[str, Any], words: str
) -> None:
    reference = candidate("fp32", 1.0, agreement=1.0, mean_iou=0.6)
    reason = over_budget(candidate("int8", 0.5, **values), reference, replace(SETTINGS, **settings))
    assert words in reason
    assert bool(words) == bool(reason)


def test_memory_budget_refuses_what_needs_more() -> None:
    settings = replace(SETTINGS, max_memory=100_000_000)
    assert not over_memory(candidate("int8", 1.0, peak_bytes=100_000_000), settings)
    assert "needs 130 MB" in over_memory(candidate("int8", 1.0, peak_bytes=130_000_000), settings)


def test_front_leaves_out_what_another_beats() -> None:
    fast = candidate("fast", 1.0, peak_bytes=100, mean_iou=0.5, agreement=0.9)
    exact = candidate("exact", 3.0, peak_bytes=100, mean_iou=0.6, agreement=1.0)
    small = candidate("small", 3.0, peak_bytes=50, mean_iou=0.5, agreement=0.9)
    beaten = candidate("beaten", 2.0, peak_bytes=100, mean_iou=0.4, agreement=0.8)
    unknown = candidate("unknown", 0.1)
    assert pareto_front([fast, exact, small, beaten, unknown]) == [fast, exact, small]


def test_worst_class_is_the_largest_loss() -> None:
    reference = candidate("fp32", 1.0, mean_iou=0.5, classes={"a": 0.5, "b": 0.5, "c": None})
    other = candidate("int8", 1.0, mean_iou=0.45, classes={"a": 0.6, "b": 0.3, "c": 0.1})
    assert drop(other, reference) == pytest.approx(0.05)
    assert worst_class(other, reference) == ("b", pytest.approx(-0.2))
    assert worst_class(candidate("int8", 1.0), reference) is None


def test_first_look_counts_by_its_minimum_and_last_rounds_by_their_median() -> None:
    found = candidate("int8", 1.0)
    assert (found.seconds, found.interval) == (1.0, None)
    found.samples = [3.0, 1.0, 2.0, 2.0, 2.0, 4.0, 2.0]
    assert found.seconds == 2.0
    assert found.interval == (1.0, 4.0)


@pytest.mark.parametrize(("text", "size"), [("500MB", 5e8), ("1.5gb", 1.5e9), ("70000", 7e4)])
def test_memory_limit_accepts_units(text: str, size: float) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "MB", "5TB", "-1MB", "0", "five", "inf"])
def test_wrong_memory_limit_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--max-memory"):
        parse_bytes(text)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for seed in range(4):
        write_png(folder / f"{seed}.png", draw_scene(seed, 40, 60).frame)
    return folder


@pytest.fixture(scope="module")
def tuned(
    small_model: Path, images: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, TuneResult, TuneSettings]:
    """A search without labels, interrupted before its last rounds and called again."""
    folder = tmp_path_factory.mktemp("tune") / "out"
    settings = TuneSettings(
        calibration=str(images),
        calibration_frames=2,
        min_agreement=0.1,
        runtimes=("onnxruntime",),
        threads=1,
    )

    def interrupt(text: str, done: int | None = None, total: int | None = None) -> None:
        if "last rounds" in text and done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(small_model, folder, settings, progress=interrupt)
    assert not (folder / "segnet.onnx").exists()
    steps: list[str] = []
    result = tune(small_model, folder, settings, progress=lambda text, *_: steps.append(text))
    assert not [text for text in steps if "making the file" in text or "time and memory" in text]
    return folder, result, settings


def test_search_measures_each_precision_in_its_runtime(
    tuned: tuple[Path, TuneResult, TuneSettings],
) -> None:
    _, result, _ = tuned
    found = {c.variant: c for c in result.candidates}
    assert {"fp32", "fp16", "bf16", "int8 percentile"} <= set(found)
    assert found["bf16"].error is not None
    assert "no bf16 convolution" in found["bf16"].error
    assert found["fp16"].computed == "weight rounding only"
    chosen = result.find(result.chosen)
    assert chosen is not None
    assert chosen.interval is not None
    assert {len(c.samples) for c in result.candidates} == {0, ROUNDS * RUNS}
    assert result.frames == 2  # the images that did not calibrate
    assert not result.labelled
    assert all(c.peak_bytes for c in result.candidates if c.measured)


def test_chosen_file_opens_in_the_runtime_that_was_chosen(
    tuned: tuple[Path, TuneResult, TuneSettings], small_model: Path
) -> None:
    folder, result, _ = tuned
    path = folder / result.file
    notes: list[str] = []
    with load(path, progress=lambda text, *_: notes.append(text)) as segmenter:
        assert segmenter.engine.name == "onnxruntime"
        assert segmenter.segment(draw_scene(0, 40, 60).frame).shape == (40, 60)
    assert notes == ["auto: onnxruntime, as segnet-tune chose"]


def test_choice_does_not_hold_elsewhere(tuned: tuple[Path, TuneResult, TuneSettings]) -> None:
    folder, result, _ = tuned
    props = ModelFile.read(folder / result.file).props
    choice = result.find(result.chosen)
    assert choice is not None
    assert read_choice(props, choice.precision) is not None
    assert read_choice(props, "other") is None
    record = json.loads(props[KEY])
    for changed in ({"processor": "another"}, {"cpus": 99}, {"threads": "2"}, {"runtime": 3}):
        assert read_choice({KEY: json.dumps(record | changed)}, choice.precision) is None
    for damaged in ("", "[]", "{}", "[" * 5000):
        assert read_choice({KEY: damaged}, choice.precision) is None
    assert read_choice({}, choice.precision) is None


def test_report_and_json_describe_the_search(
    tuned: tuple[Path, TuneResult, TuneSettings],
) -> None:
    folder, result, _ = tuned
    page = (folder / "report.html").read_text()
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert all(c.name in page for c in result.candidates)
    assert "Accuracy was not measured" in page
    assert read_result(folder / "tune.json") == result
    validated(json.loads((folder / "tune.json").read_text()))


def test_search_with_other_settings_needs_another_folder(
    tuned: tuple[Path, TuneResult, TuneSettings], small_model: Path
) -> None:
    folder, _, settings = tuned
    with pytest.raises(InputError, match="with other settings; give another -o, or --fresh"):
        tune(small_model, folder, replace(settings, threads=2))
    (folder / "other").mkdir()
    (folder / "other" / "tune.json").write_text("{}")
    with pytest.raises(InputError, match="not a result of segnet-tune"):
        tune(small_model, folder / "other", settings)


def test_memory_limit_that_nothing_meets_names_the_least(
    small_model: Path, images: Path, tmp_path: Path
) -> None:
    settings = TuneSettings(
        calibration=str(images), runtimes=("onnxruntime",), max_memory=1_000_000
    )
    settings = replace(settings, calibration=None, data=str(_labelled(tmp_path)))
    with pytest.raises(InputError, match=r"no candidate fits the memory limit; the least is \d+"):
        tune(small_model, tmp_path / "out", settings)
    assert not (tmp_path / "out" / "segnet.onnx").exists()


def _labelled(folder: Path) -> Path:
    for name in ("images", "labels"):
        (folder / name).mkdir()
    write_png(folder / "images" / "0.png", draw_scene(0, 40, 60).frame)
    write_png(folder / "labels" / "0.png", np.zeros((40, 60), np.uint8))
    return folder


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 2, "--data (labelled frames), --calib"),
        (["--calib", "c", "--max-drop", "-1"], 2, "--max-drop"),
        (["--calib", "c", "--frames", "0"], 2, "--frames"),
        (["--calib", "c", "--min-agreement", "95"], 2, "--min-agreement"),
        (["--calib", "missing"], 1, "missing"),
        (["--calib", "c", "--", "--rgb"], 2, "need a checkpoint"),
    ],
)
def test_wrong_call_is_one_line(
    arguments: list[str],
    status: int,
    words: str,
    small_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert main([str(small_model), "-o", str(out), *arguments]) == status
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert words in error
    assert not (out / "segnet.onnx").exists()


def test_lowered_file_keeps_its_form(small_model: Path, images: Path, tmp_path: Path) -> None:
    source = tmp_path / "lowered.onnx"
    convert(small_model, source, "lowered")
    settings = TuneSettings(calibration=str(images), min_agreement=0.1, runtimes=("onnxruntime",))
    variant = make_variant(INT8[0], source, tmp_path, settings, silent)
    for path in (variant, make_variant(FP32, source, tmp_path, settings, silent)):
        assert Metadata.from_props(ModelFile.read(path).props).form == "lowered"


def test_reduced_file_is_no_source(
    small_model: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from segnet_deploy.passes.lower_unpooling import lower_unpooling
    from segnet_deploy.passes.to_precision import to_precision

    path = tmp_path / "half.onnx"
    save_model(to_precision(lower_unpooling(load_model(small_model)).model, "fp16").model, path)
    assert main([str(path), "-o", str(tmp_path / "out"), "--calib", str(images)]) == 1
    assert "is in fp16; start from the fp32 file" in capsys.readouterr().err

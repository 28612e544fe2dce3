"""Comparisons: interleaved, saved step by step, resumed after a kill or Ctrl-C."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from documents import validated

from segnet_deploy.bench.comparison import (
    ComparisonExtras,
    ComparisonSettings,
    compare,
    find_network_files,
)
from segnet_deploy.bench.comparison.document import FILE_NAME, Document
from segnet_deploy.bench.comparison.process_pool import ProcessPool, start_worker
from segnet_deploy.bench.comparison.table import format_comparison
from segnet_deploy.bench.graph_cost import GraphCost, graph_cost
from segnet_deploy.bench.result import Comparison
from segnet_deploy.cli import bench
from segnet_deploy.errors import EngineError, InputError

SETTINGS = ComparisonSettings("onnxruntime", 1, rounds=3, runs=2, size=(45, 61), warm_ups=3)
PLAIN = ComparisonExtras(ceilings=False)


@pytest.fixture(scope="module")
def folder(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the same small SegNet under two names of the paper."""
    made = tmp_path_factory.mktemp("networks")
    for name in ("deconvnet", "segnet"):
        (made / f"{name}.onnx").write_bytes(small_model.read_bytes())
    return made


@pytest.fixture(scope="module")
def comparison(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    out = tmp_path_factory.mktemp("results")
    return compare(find_network_files(folder), SETTINGS, out, PLAIN, judge=True)


def saved(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = validated(json.loads((folder / FILE_NAME).read_text()))
    return content


def save(content: Comparison | dict[str, Any], folder: Path) -> None:
    content = content if isinstance(content, dict) else content.to_json()
    (folder / FILE_NAME).write_text(json.dumps(content))


def samples(comparison: Comparison) -> list[list[float]]:
    return [network.samples.get("infer", []) for network in comparison.networks]


def test_comparison_measures_each_network_alike(comparison: Comparison) -> None:
    assert [network.name for network in comparison.networks] == ["SegNet", "DeconvNet"]
    for network in comparison.to_json()["networks"]:
        assert {p: len(v) for p, v in network["samples"].items()} == dict.fromkeys(
            ("pre", "infer", "post", "total"), 6
        )
        assert network["seconds"]["infer"]["median"] > 0
        # Two readings at different times: a small network may run in less than the baseline.
        assert 0 < network["baseline_bytes"] <= network["peak_bytes"]
        assert 0 < network["running_bytes"] <= network["peak_bytes"]
        assert network["added_bytes"] == network["peak_bytes"] - network["baseline_bytes"]
        assert len(network["memory_timeline"]) > 3
        assert network["gmac"] > 0


def test_table_names_networks_paper_and_verdicts(comparison: Comparison) -> None:
    table = format_comparison(comparison)
    for words in ("DeconvNet", "  paper", "422.5", "WITHIN NOISE: SegNet's model is smaller"):
        assert words in table


def test_index_memory_counts_every_pool_that_is_unpooled(small_model: Path) -> None:
    cost = graph_cost(small_model)
    # Ceil pools of 45x61 at widths 4, 8, 16, 32, 32.
    sizes = [(4, 23, 31), (8, 12, 16), (16, 6, 8), (32, 3, 4), (32, 2, 2)]
    assert cost.index_windows == [c * h * w for c, h, w in sizes]
    assert cost.index_bytes == 8 * sum(cost.index_windows)
    assert graph_cost("segnet.trt") == GraphCost()  # a built engine cannot be inspected


def test_second_call_measures_nothing_again(
    comparison: Comparison, folder: Path, tmp_path: Path
) -> None:
    save(comparison, tmp_path)
    reports: list[str] = []

    def progress(text: str, done: int | None = None, total: int | None = None) -> None:
        reports.append(text)

    again = compare(
        find_network_files(folder), SETTINGS, tmp_path, PLAIN, judge=True, progress=progress
    )
    assert again == comparison
    assert not any("loading" in line or "round" in line for line in reports)


def two_rounds_are_saved(folder: Path) -> bool:
    if not (folder / FILE_NAME).is_file():
        return False
    measured = samples(Comparison.from_json(saved(folder)))
    return bool(measured) and all(len(values) >= 4 for values in measured)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_comparison_is_resumed(number: int, small_model: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "segnet_deploy.cli.bench", "--paper", str(small_model.parent)]
    command += ["--runtime", "onnxruntime", "--threads", "1", "-o", str(tmp_path)]
    command += ["--imgsz", "45", "61", "--runs", "2", "--rounds", "2000"]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Tests that a shell runs in the background have SIGINT ignored, and would pass that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not two_rounds_are_saved(tmp_path):
        time.sleep(0.05)
    os.killpg(process.pid, number)  # the workers get it as well, as from a terminal
    messages = process.communicate(timeout=60)[1]
    assert process.returncode == (130 if number == signal.SIGINT else -number), messages[-2000:]
    before = saved(tmp_path)
    assert two_rounds_are_saved(tmp_path)
    before["settings"].update(rounds=3, warm_ups=3)
    before["networks"] = [
        {**n, "samples": {p: v[:2] for p, v in n["samples"].items()}} for n in before["networks"]
    ]
    save(before, tmp_path)
    after = compare([small_model], SETTINGS, tmp_path, PLAIN)
    for old, new in zip(samples(Comparison.from_json(before)), samples(after), strict=True):
        assert len(new) == 6
        assert new[:2] == old


def test_worker_that_dies_is_an_error_and_is_tried_again(folder: Path, tmp_path: Path) -> None:
    files = find_network_files(folder)
    killed = []

    def watch(text: str, done: int | None = None, total: int | None = None) -> None:
        if done == 1 and not killed:
            children = subprocess.run(
                ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(os.getpid())],
                capture_output=True, text=True, check=True,
            ).stdout  # fmt: skip
            killed.append(next(int(c.split()[0]) for c in children.splitlines() if "worker" in c))
            os.kill(killed[0], signal.SIGKILL)

    first = compare(files, SETTINGS, tmp_path, PLAIN, progress=watch)
    errors = [network.error for network in first.networks]
    assert sum(error is not None for error in errors) == 1
    assert "memory runs out" in next(error for error in errors if error)
    second = compare(files, SETTINGS, tmp_path, PLAIN)
    assert [len(values) for values in samples(second)] == [6, 6]
    assert not any(network.error for network in second.networks)


def test_other_settings_are_refused(comparison: Comparison, folder: Path, tmp_path: Path) -> None:
    save(comparison, tmp_path)
    with pytest.raises(InputError, match="threads 1, now 2"):
        compare(
            find_network_files(folder),
            ComparisonSettings("onnxruntime", 2, 3, 2, (45, 61)),
            tmp_path,
        )


def test_another_calls_networks_stay_in_the_file(
    comparison: Comparison, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(comparison, tmp_path)
    monkeypatch.chdir(folder)
    again = compare([Path("deconvnet.onnx")], SETTINGS, tmp_path, PLAIN, judge=True)
    assert again.networks == comparison.networks[1:]
    assert again.verdicts == []
    assert Comparison.from_json(saved(tmp_path)).networks == comparison.networks


def test_changed_file_is_measured_again(comparison: Comparison, tmp_path: Path) -> None:
    save(comparison, tmp_path)
    document = Document(tmp_path, SETTINGS)
    first = comparison.networks[0]
    assert document.network(Path(first.engine), first.sha256 or "").samples
    assert not document.network(Path(first.engine), "another").samples


def test_other_version_of_the_runtime_is_refused(
    comparison: Comparison, folder: Path, tmp_path: Path
) -> None:
    save(replace(comparison, versions=comparison.versions | {"onnxruntime": "1.0"}), tmp_path)
    with pytest.raises(InputError, match=r"onnxruntime 1\.0, now "):
        compare(find_network_files(folder), SETTINGS, tmp_path, PLAIN)


def test_second_call_keeps_warnings_and_asks_for_unknown_energy(
    comparison: Comparison, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = copy.deepcopy(comparison.to_json())
    before["networks"][0] |= {"reopened": True, "power": {"joules_per_frame": None}}
    before["networks"][1]["power"] = {"joules_per_frame": 1.0}
    save(before, tmp_path)
    asked: list[str] = []

    def ask(_pool: ProcessPool, path: Path, task: str) -> dict[str, Any]:
        asked.append(f"{path.stem} {task}")
        return {"joules_per_frame": 2.0}

    monkeypatch.setattr(ProcessPool, "ask", ask)
    extras = ComparisonExtras(power=True, ceilings=False)
    first = compare(find_network_files(folder), SETTINGS, tmp_path, extras).networks[0]
    assert asked == ["segnet power"]
    assert any("memory was short" in warning.text for warning in first.warnings)


def test_auto_is_one_runtime_for_all(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGNET_AUTO", "order")
    settings = ComparisonSettings("auto", 1, rounds=1, runs=1, size=(45, 61), warm_ups=3)
    files, given = find_network_files(folder), list[str]()
    opened = ProcessPool.open

    def watch(pool: ProcessPool, path: Path) -> dict[str, Any]:
        given.append(pool._open_arguments["runtime"])
        return opened(pool, path)

    monkeypatch.setattr(ProcessPool, "open", watch)
    made = compare(files[:1], settings, tmp_path, PLAIN)
    compare(files, settings, tmp_path, PLAIN)
    assert given == [made.networks[0].runtime] * 2


def test_output_that_is_a_file_is_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert bench.main(["--paper", str(folder), "-o", str(tmp_path / "file")]) == 1
    assert "error: cannot make the folder" in capsys.readouterr().err


def test_pool_closes_the_idle_process_if_memory_is_short(folder: Path) -> None:
    first, second = find_network_files(folder)
    arguments = SETTINGS.open_arguments("onnxruntime", rebuild=False)
    with ProcessPool(arguments, available=lambda: 0) as pool:
        pool.open(first)
        pool.open(second)
        assert len(pool.ask(first, "round", runs=1)["samples"]["infer"]) == 1
        assert pool.reopened == {first}


def test_worker_reports_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"nothing")
    with start_worker() as worker, pytest.raises(EngineError, match=r"no\.onnx"):
        worker.ask("cost", engine=str(tmp_path / "no.onnx"))


def test_several_engines_are_compared_without_verdicts(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engines = [word for f in find_network_files(folder) for word in ("--engine", str(f))]
    arguments = [*engines, "--runtime", "onnxruntime", "--threads", "1", "--rounds", "1"]
    assert bench.main([*arguments, "--imgsz", "45", "61", "-o", str(tmp_path), "--json", "-"]) == 0
    result = validated(json.loads(capsys.readouterr().out))
    assert [n["name"] for n in result["networks"]] == ["segnet", "deconvnet"]
    assert result["verdicts"] == []
    assert (tmp_path / "report.html").is_file()


def test_switches_of_the_command_reach_the_comparison(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[ComparisonExtras] = []

    def stop(
        _files: object, _settings: object, _folder: object, extras: ComparisonExtras, **_: Any
    ) -> None:
        given.append(extras)
        raise InputError("enough")

    monkeypatch.setattr("segnet_deploy.bench.comparison.compare", stop)
    for switches in ([], ["--rebuild"], ["--layers", "--power"]):
        assert bench.main(["--paper", str(folder), "-o", str(tmp_path), *switches]) == 1
    assert given == [
        ComparisonExtras(),
        ComparisonExtras(rebuild=True),
        ComparisonExtras(layers=True, power=True),
    ]
    # docs/how-to/report.md: every comparison on a CPU has a roofline
    assert ComparisonExtras().ceilings


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--paper", "nowhere"], 1, "nowhere"),
        (["--engine", "a.onnx", "--engine", "b.onnx"], 1, "a.onnx"),
        (["--engine", "a.onnx", "--rounds", "3"], 2, "--rounds"),
        (["--paper", ".", "--duration", "3"], 2, "--duration"),
        (["--engine", "a.onnx", "-o", "out"], 2, "-o"),
        (["--report", "a.json", "--layers"], 2, "--layers"),
    ],
)
def test_wrong_use_is_one_line(
    arguments: list[str],
    status: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert bench.main(arguments) == status
    error = capsys.readouterr().err.strip()
    assert words in error
    assert error.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


def test_failed_network_is_named_in_the_report(
    small_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"nothing")
    quick = ["--runtime", "onnxruntime", "--rounds", "1", "--imgsz", "45", "61"]
    engines = ["--engine", str(broken), "--engine", str(small_model)]
    assert bench.main([*engines, *quick, "-o", str(tmp_path / "one")]) == 1
    assert "broken was not measured" in (tmp_path / "one" / "report.md").read_text()
    (tmp_path / "paper").mkdir()
    broken.rename(tmp_path / "paper" / "segnet.onnx")
    arguments = ["--paper", str(tmp_path / "paper"), *quick, "-o", str(tmp_path / "none")]
    assert bench.main(arguments) == 1
    assert "error: no network was measured" in capsys.readouterr().err
    assert not (tmp_path / "none" / "report.md").exists()

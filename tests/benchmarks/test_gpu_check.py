"""The GPU check without a GPU: its parts on the CPU, its time limits, and what it saves."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import shutil
import zipfile
from pathlib import Path

import gpu_check
import numpy as np
import onnx
import pytest
import torch

from gpu import (
    bandwidth,
    counters,
    exactness,
    libraries,
    network,
    onnx_skeletons,
    sanitizer,
    torch_pair,
    wheels,
)
from gpu import window_rule as rule
from gpu.exactness_cases import all_cases
from gpu.parts import BUDGET, PARTS, STANDARD, Part
from gpu.place import Place
from gpu.record import Record
from gpu.run_parts import Check
from gpu.table import format_table

CHILD = """
import sys, time
from pathlib import Path
sys.path[:0] = {paths!r}
from gpu.record import Record
record = Record(Path(sys.argv[sys.argv.index("--save") + 1]))
record.must("first", True)
if sys.argv[1] == "hangs":
    time.sleep(60)
if sys.argv[1] == "raises":
    raise RuntimeError("a failure")
record.must("second", sys.argv[1] != "wrong")
sys.exit(1 if record.broken else 0)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("gpu")
    return Place(True, folder, folder / "none")


@pytest.fixture(scope="module")
def kernels(place: Place) -> libraries.Kernels:
    opened = libraries.open_kernels(place)
    torch_pair.register(opened)
    return opened


def make_check(folder: Path, **parts: float) -> Check:
    child = folder / "child.py"
    root = Path(__file__).parents[2]
    child.write_text(CHILD.format(paths=[str(root), str(root / "benchmarks")]))
    table = {name: Part(limit, spare=name == "spare") for name, limit in parts.items()}
    return Check(folder / "gpu.json", folder / "gpu.log", False, folder, parts=table, child=child)


def test_limits_of_the_standard_parts_fit_in_six_minutes() -> None:
    limits = [PARTS[name].limit for name in STANDARD if not PARTS[name].spare]
    assert sum(limits) <= BUDGET <= 360


@pytest.mark.parametrize("name", PARTS)
def test_every_part_has_a_module(name: str) -> None:
    module = importlib.import_module(f"gpu.{name}")
    assert callable(module.run)
    assert (module.__doc__ or "").splitlines()[0].count("?") == 1


def test_document_has_every_part_with_its_limit() -> None:
    text = (Path(__file__).parents[2] / "docs/how-to/gpu-check.md").read_text()
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("|")}
    for name, part in PARTS.items():
        assert part.spare or f"| {part.limit} s |" in rows[f"`{name}`"]


def test_part_that_hangs_is_stopped_and_the_rest_is_saved(tmp_path: Path) -> None:
    check = make_check(tmp_path, good=30, hangs=3, raises=30, wrong=30)
    assert not check.run(["good", "hangs", "raises", "wrong"], lambda text: None)
    saved = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert {name: part["status"] for name, part in saved.items()} == {
        "good": "done",
        "hangs": "timed out",
        "raises": "failed",
        "wrong": "failed",
    }
    assert [goal["goal"] for goal in saved["hangs"]["goals"]] == ["first"]
    assert saved["wrong"]["error"] == "second"
    assert "a failure" in (tmp_path / "gpu.log").read_text()
    assert check.failed == ["hangs", "raises", "wrong"]
    table = format_table(check.found)
    assert "TIMED OUT" in table
    assert "MISSED" in table


def test_part_without_time_left_is_a_failure_unless_it_is_spare(tmp_path: Path) -> None:
    check = make_check(tmp_path, good=30, spare=30)
    check.budget = 1.0
    assert not check.run(["good", "spare"], lambda text: None)
    assert check.failed == ["good"]
    assert check.found["parts"]["spare"]["status"] == "not run"
    check.found["parts"].clear()
    assert check.run(["spare"], lambda text: None)


def test_check_without_gpu_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    if gpu_check.device_count():
        pytest.skip("there is a GPU")
    assert gpu_check.main(["-o", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("error: no CUDA device responds; expected a GPU")


@pytest.mark.needs("compiler")
def test_dry_run_writes_one_json_and_one_log(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, place: Place, kernels: libraries.Kernels
) -> None:
    (place.folder / libraries.STAMP).write_text(libraries.source_hash())
    options = ["--prebuilt", str(place.folder), "-o", str(tmp_path)]
    assert gpu_check.main(["--dry-run", "--only", "pieces", "sanitizer", *options]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gpu.json", "gpu.log"]
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["dry_run"]
    assert found["machine"]["device"]["name"] == "CPU (dry run)"
    assert {part["status"] for part in found["parts"].values()} == {"done"}
    goals = [goal for part in found["parts"].values() for goal in part["goals"]]
    assert len(goals) >= 9
    assert all(goal["met"] for goal in goals if goal["value"] != "needs a GPU")
    assert "a session is exact" in capsys.readouterr().out


def test_reference_equals_pytorch_over_the_table() -> None:
    assert exactness._reference_is_pytorchs()


@pytest.mark.needs("compiler")
def test_cases_cover_every_method_and_type(place: Place, kernels: libraries.Kernels) -> None:
    paths, origin = libraries.find_native("paths", place)
    assert origin == "built here"
    checker = exactness.Checker(kernels, ctypes.CDLL(str(paths)), place)
    seen = set()
    for case in list(all_cases(place))[::2]:
        path, wrong = checker.check(case)
        assert not wrong, case
        seen.add((case.kind, path))
    assert {method for _, method in seen} >= {method for _, method in exactness.all_paths()}
    huge = exactness._compare_huge(checker, "fp16", "NHWC", (1, 64, 9, 11))
    assert huge == ("pixels of 8", [])


@pytest.mark.needs("compiler")
@pytest.mark.parametrize(
    ("byte", "differs"), [(0, ["y", "x"]), (-1, ["written outside of a tensor"])]
)
def test_wrong_byte_is_found(
    byte: int, differs: list[str], place: Place, kernels: libraries.Kernels
) -> None:
    class Wrong(libraries.HostPair):
        def pool(self, x: int, y: int, codes: int, stream: int) -> None:
            super().pool(x, y, codes, stream)
            ctypes.c_uint8.from_address(y + byte).value ^= 0x11

    class WrongKernels(libraries.Kernels):
        def pair(self, *arguments: object) -> libraries.HostPair:
            return Wrong(self.library, *arguments)  # type: ignore[arg-type]

    broken = WrongKernels(kernels.library, "broken", True)
    paths, _ = libraries.find_native("paths", place)
    checker = exactness.Checker(broken, ctypes.CDLL(str(paths)), place)
    assert checker.check(next(iter(all_cases(place))))[1] == differs


@pytest.mark.needs("compiler")
@pytest.mark.parametrize("kind", ["fp16", "int8"])
def test_bandwidth_row_has_every_figure(
    kind: str, place: Place, kernels: libraries.Kernels
) -> None:
    setting = bandwidth.Setting(kind, "NHWC", (1, 16, 6, 10))
    row = bandwidth.measure(place, kernels, setting)
    for cache in ("flushed", "warm"):
        figures = row[cache]
        assert figures["pool_of_copy"] > 0
        assert figures["unpool_of_copy"] > 0
        assert ("pair_times_faster" in figures) == ("torch" not in row)
    json.dumps(row)


@pytest.mark.needs("compiler")
@pytest.mark.parametrize("last", [False, True])
def test_operators_of_pytorch_are_well_formed(
    last: bool, place: Place, kernels: libraries.Kernels
) -> None:
    x = torch.randn(2, 17, 9, 7)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    torch.library.opcheck(torch.ops.segnet.max_pool, (x, True))
    y, codes = torch.ops.segnet.max_pool(x, True)
    torch.library.opcheck(torch.ops.segnet.max_unpool, (y, codes, 9, 7, True))
    best, code = rule.pool(x, True)
    assert torch.equal(rule.as_bits(y), best)
    assert torch.equal(codes, rule.pack(code))
    assert y.is_contiguous() != last
    with pytest.raises(ValueError, match="expected NCHW or channels last"):
        torch.ops.segnet.max_pool(x.transpose(1, 2), True)


@pytest.mark.needs("compiler")
def test_network_with_the_pair_has_the_same_logits(
    place: Place, kernels: libraries.Kernels
) -> None:
    with torch.inference_mode():
        assert network.same_logits(place, "fp32", True)
        call, memory = network.prepare(place, network.VARIANTS[0], 1)
        record = Record(judges_speed=False)
        network.record_times(place, record, "network", 1, {"ours": call}, 2)
    assert memory == 0
    assert record.tables["network"][0]["gpu_seconds"]["runs"] == 2


@pytest.mark.needs("compiler")
def test_prebuilt_library_is_used_only_for_its_sources(place: Place, tmp_path: Path) -> None:
    built, _ = libraries.find_native("paths", place)
    prebuilt = tmp_path / "prebuilt"
    prebuilt.mkdir()
    shutil.copy(built, prebuilt)
    other = Place(True, place.folder, prebuilt)
    (prebuilt / libraries.STAMP).write_text("of other sources")
    assert libraries.find_native("paths", other) == (built, "built here")
    (prebuilt / libraries.STAMP).write_text(libraries.source_hash() + "\n")
    assert libraries.find_native("paths", other) == (prebuilt / built.name, "prebuilt")
    foreign = Place(True, place.folder, tmp_path / "foreign")
    foreign.prebuilt.mkdir()
    (foreign.prebuilt / built.name).write_bytes(b"for another machine")
    shutil.copy(prebuilt / libraries.STAMP, foreign.prebuilt)
    assert libraries.find_native("paths", foreign) == (built, "built here")


def test_calls_of_the_cuda_runtime_are_counted() -> None:
    from gpu.allocation_counter import counted

    runtime = pytest.importorskip("cuda.bindings.runtime")
    original = runtime.cudaMalloc
    with counted(runtime) as counts:
        assert runtime.cudaMalloc is not original
        for name, arguments in (("cudaMalloc", (64,)), ("cudaStreamCreate", ())):
            with contextlib.suppress(RuntimeError):  # there is no driver
                getattr(runtime, name)(*arguments)
    assert counts == {"cudaMalloc": 1, "cudaStreamCreate": 1}
    assert counts.created() == 2
    assert runtime.cudaMalloc is original


def test_sanitizer_output_without_a_summary_is_no_success() -> None:
    clean = "cases: 96 runs, 192 pixels; 0 wrong\n========= ERROR SUMMARY: 0 errors\n"
    race = "========= RACECHECK SUMMARY: 3 hazards displayed (3 errors, 0 warnings)\n"
    assert sanitizer.read_cases(clean) == [96, 192, 0]
    assert sanitizer.errors_of(clean) == 0
    assert sanitizer.errors_of("========= ERROR SUMMARY: 1 error\n") == 1
    assert sanitizer.errors_of(race) == 3
    assert sanitizer.errors_of("========= COMPUTE-SANITIZER\n") is None
    assert sanitizer.read_cases("Error: Device not supported") == [0, 0, 0]


def test_counters_are_read_from_ncu() -> None:
    text = """==PROF== Connected to process 1
fp16
==PROF== Disconnected
"ID","Process ID","Kernel Name","Metric Name","Metric Unit","Metric Value"
"0","1","thread_kernel<PoolPixels>","gpu__time_duration.sum","ns","64,320"
"0","1","thread_kernel<PoolPixels>","dram__bytes_read.sum","byte","176,947,200"
"0","1","thread_kernel<PoolPixels>","launch__registers_per_thread","register/thread","40"
"1","1","thread_kernel<UnpoolPixels>","gpu__time_duration.sum","ns","70,000"
"1","1","thread_kernel<UnpoolPixels>","dram__bytes_read.sum","","n/a"
"""
    first, second = counters.read_csv(text)
    assert first["seconds"] == pytest.approx(64.32e-6)
    assert (first["dram_read_bytes"], first["registers"]) == (176_947_200, 40)
    assert second == {"kernel": "thread_kernel<UnpoolPixels>", "seconds": pytest.approx(70e-6)}
    assert counters.read_csv("==ERROR== no permission") == []


def test_labels_of_the_camera_engine_are_those_of_the_network(
    place: Place, kernels: libraries.Kernels
) -> None:
    from gpu.cuda_engine import MEAN, STD, CudaEngine

    engine = CudaEngine(place, (22, 30))
    frame = np.random.default_rng(0).integers(0, 256, (1, 22, 30, 3), np.uint8)
    plain = torch_pair.build_network(place, False, torch.float32)
    x = (torch.from_numpy(frame).float() - torch.tensor(MEAN)) / STD
    labels = plain(x.permute(0, 3, 1, 2).contiguous()).argmax(1).numpy()
    assert np.mean(engine.run(frame) == labels) > 0.999


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """Return a wheel with a package of one module."""
    path = tmp_path / "small-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("small/__init__.py", "VALUE = 7\n")
        archive.writestr("small/data.bin", np.random.default_rng(0).bytes(5000))
    return path


def test_wheel_is_joined_from_its_pieces_in_any_order(wheel: Path, tmp_path: Path) -> None:
    size = wheel.stat().st_size // 3
    folders = wheels.split(wheel, tmp_path / "parts", size)
    assert len(folders) == 4
    assert all(p.stat().st_size <= size for f in folders for p in f.glob("*.whl.*"))
    target = tmp_path / "extra"
    assert wheels.join([folders[2]], target) == [f"{wheel.name}.{n:02d}" for n in (1, 2, 4)]
    assert wheels.join([folders[0], folders[3]], target) == [f"{wheel.name}.02"]
    assert wheels.join([folders[1]], target) == []
    assert (target / "small/__init__.py").read_text() == "VALUE = 7\n"
    assert list((target / wheels.PIECES).iterdir()) == []


def test_damaged_piece_is_refused(
    wheel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["split", str(wheel), "-o", str(tmp_path / "parts"), "--megabytes", "0.004"]
    assert wheels.main(command) == 0
    piece = tmp_path / "parts/1" / f"{wheel.name}.01"
    piece.write_bytes(piece.read_bytes()[:-1] + b"?")
    target = tmp_path / "extra"
    assert wheels.main(["join", str(tmp_path / "parts/1"), "--into", str(target)]) == 1
    assert "is damaged: SHA-256" in capsys.readouterr().err
    assert wheels.main(["join", str(tmp_path / "parts/2"), "--into", str(target)]) == 0
    assert capsys.readouterr().out == f"missing: {wheel.name}.01\n"
    (tmp_path / "parts/1/manifest.json").write_text("{}")
    assert wheels.main(["join", str(tmp_path / "parts/1"), "--into", str(target)]) == 1
    assert wheels.main(["split", str(piece), "-o", str(target)]) == 1


def test_skeleton_keeps_types_shapes_and_spread_of_the_weights() -> None:
    rng = np.random.default_rng(1)
    weights = {
        "float": (rng.standard_normal((40, 50)) * 0.1).astype(np.float32),
        "half": rng.standard_normal((50, 50)).astype(np.float16),
        "int8": rng.integers(-90, 90, (80, 80), np.int8),
        "small": np.arange(4, dtype=np.int64),
    }
    graph = onnx.helper.make_graph(
        [], "net", [], [], [onnx.numpy_helper.from_array(a, n) for n, a in weights.items()]
    )
    data = onnx_skeletons.strip(onnx.helper.make_model(graph)).SerializeToString()
    assert len(data) < 1000
    filled = onnx_skeletons.fill(onnx.load_from_string(data))
    again = onnx_skeletons.fill(onnx.load_from_string(data))
    assert filled == again
    for tensor in filled.graph.initializer:
        found, wanted = onnx.numpy_helper.to_array(tensor), weights[tensor.name]
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        assert np.std(found.astype(float)) == pytest.approx(np.std(wanted.astype(float)), rel=0.1)
    assert np.array_equal(onnx.numpy_helper.to_array(filled.graph.initializer[3]), np.arange(4))

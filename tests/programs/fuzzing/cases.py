"""Cases: mutated files in a folder, and the command or call that reads them."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from fuzzing.file_mutations import mutate_bytes, mutate_json, mutate_text, write_checkpoint
from fuzzing.onnx_mutations import mutate_model
from fuzzing.seeds import ONNX_KINDS, SIZE

RUNTIMES = ("auto", "onnxruntime", "openvino", "ncnn")
# The kinds of files with their shares of the cases.
SHARES = {"onnx": 60, "checkpoint": 10, "engine": 8, "config": 8, "image": 8, "video": 6}


@dataclass
class Case:
    """One case in `folder`, whose `in` holds the mutated files.

    `run` returns an exit status or raises. Files may be left in `out` only if they match `written`
    and, unless `partial`, the status is 0.
    """

    folder: Path
    kind: str
    name: str = ""
    run: Callable[[], int | None] = lambda: 0
    written: tuple[str, ...] = ()
    partial: bool = False
    is_command: bool = True
    notes: list[str] = field(default_factory=list)

    @property
    def given(self) -> Path:
        """The folder of the mutated files."""
        return self.folder / "in"

    @property
    def out(self) -> Path:
        """The folder for results."""
        return self.folder / "out"


def make_case(kind: str, folder: Path, seeds: Path, rng: random.Random) -> Case:
    """Write the files of a case into `folder`, which has the folders in and out; return it."""
    case = Case(folder, kind)
    {
        "onnx": _onnx,
        "checkpoint": _checkpoint,
        "engine": _engine,
        "config": _config,
        "image": _image,
        "video": _video,
    }[kind](case, seeds, rng)
    return case


def _onnx(case: Case, seeds: Path, rng: random.Random) -> None:
    form = rng.choice(ONNX_KINDS)
    path = case.given / "m.onnx"
    data = mutate_model(onnx.load(seeds / f"{form}.onnx"), rng)
    path.write_bytes(mutate_bytes(data, rng) if rng.random() < 0.1 else data)
    if rng.random() < 0.05:
        (case.given / "link.bin").symlink_to(case.folder.parent / "canary/secret.bin")
    uses = (
        *(_predict, _predict, _predict, _export, _export, _export, _build, _build),
        *(_evaluate, _measure, _watch, _compare),
    )
    rng.choice(uses)(case, path, seeds, rng)
    case.name = f"{form} {case.name}"


def _predict(case: Case, engine: Path, seeds: Path, rng: random.Random) -> None:
    from segnet_deploy.cli import predict

    runtime = rng.choice(RUNTIMES)
    case.name, case.written, case.partial = f"predict {runtime}", ("*",), True
    words = ["--engine", engine, "--runtime", runtime, seeds / "frame.png", "-o", case.out / "d"]
    case.run = lambda: predict.main([*map(str, words)])


def _export(case: Case, source: Path, seeds: Path, rng: random.Random) -> None:
    from segnet_export import cli

    form = rng.choice(("standard", "lowered", "plugin"))
    precision = rng.choice(("fp32", "fp32", "fp16", "bf16", "int8"))
    case.name, case.written = f"export {form} {precision}", ("n.onnx",)
    words = [source, "-o", case.out / "n.onnx", "--form", form, "--precision", precision]
    if precision == "int8":
        words += ["--calib", seeds / "data/images", "--min-agreement", "0"]
    elif rng.random() < 0.3:
        words += ["--classes", "camvid"]
    case.run = lambda: cli.main([*map(str, words)])


def _build(case: Case, source: Path, seeds: Path, rng: random.Random) -> None:
    """Prepare a build; the builder itself needs TensorRT (fuzz_engines.py)."""
    from segnet_deploy.tensorrt_build.builder import inspect, prepare

    form = rng.choice(("plugin", "lowered"))
    case.name, case.written, case.is_command = f"build {form}", ("n.onnx",), False

    def run() -> int:
        precision, _ = inspect(source)
        prepare(source, case.out / "n.onnx", form, precision, plugin_layout=rng.choice((0, 1)))
        return 0

    case.run = run


def _evaluate(case: Case, engine: Path, seeds: Path, rng: random.Random) -> None:
    from segnet_deploy.cli import eval as evaluate

    words = ["--engine", engine, "--data", seeds / "data", "--runtime", rng.choice(RUNTIMES)]
    words += ["--json", case.out / "e.json", "--every", "2"]
    if rng.random() < 0.5:
        words += ["--against", seeds / "standard.onnx", "--flips"]
    case.name, case.written = f"eval {words[5]}", ("e.json",)
    case.run = lambda: evaluate.main([*map(str, words)])


def _measure(case: Case, engine: Path, seeds: Path, rng: random.Random) -> None:
    from segnet_deploy.cli import bench

    words = ["--engine", engine, "--runs", "1", "--runtime", rng.choice(RUNTIMES)]
    words += ["--json", case.out / "b.json", *(["--layers"] if rng.random() < 0.5 else [])]
    case.name, case.written = f"bench {words[5]}", ("b.json",)
    case.run = lambda: bench.main([*map(str, words)])


def _watch(case: Case, engine: Path, seeds: Path, rng: random.Random) -> None:
    from segnet_deploy.cli import camera

    words = ["--engine", engine, "--source", seeds / "data/images", "--runtime", "onnxruntime"]
    words += ["--labels", case.out / "l.jsonl", "--every-frame", "--min-free", "0"]
    case.name, case.written, case.partial = "camera", ("l.jsonl",), True
    case.run = lambda: camera.main([*map(str, words)])


def _compare(case: Case, engine: Path, seeds: Path, rng: random.Random) -> None:
    """Compare a runtime with ONNX Runtime's own operators: a file that both accept is equal."""
    runtime = rng.choice(RUNTIMES[1:])
    x = np.random.default_rng(rng.randrange(100)).random((1, 3, *SIZE), np.float32) * 255
    case.name, case.is_command = f"compare {runtime}", False
    case.run = lambda: _differs(case, engine, runtime, x)


def _differs(case: Case, path: Path, runtime: str, x: np.ndarray) -> int:
    from segnet_deploy import runtimes
    from segnet_deploy.runtimes.model_file import ModelFile
    from segnet_deploy.runtimes.onnxruntime import open_file

    file = ModelFile.read(path)
    if file.has_plugin:
        return 0  # ONNX Runtime itself does not have these operators
    with open_file(file, 1, False) as source, runtimes.open(path, runtime, 1) as engine:
        if source.lowered:
            return 0
        port = source.inputs[0]
        feed = x.transpose(0, 2, 3, 1) if port.dtype == np.uint8 else x
        feed = np.ascontiguousarray(feed.astype(port.dtype))
        expected, found = source.run(feed).copy(), engine.run(feed)
    if expected.shape != found.shape:
        case.notes.append(f"{runtime} returns {found.shape}, ONNX Runtime {expected.shape}")
        return 0
    # ncnn rounds to int8 where the file has uint8.
    limit = 0.3 if runtime == "ncnn" and case.name.startswith("int8") else 0.01
    with np.errstate(all="ignore"):
        scale = float(np.abs(expected.astype(np.float64)).max())
        share = float((np.abs(expected - found.astype(np.float64)) > limit * scale).mean())
    if np.isfinite(scale) and share > 0.1:
        case.notes.append(f"{runtime} differs from ONNX Runtime in {share:.0%} of the values")
    return 0


def _checkpoint(case: Case, seeds: Path, rng: random.Random) -> None:
    seed = seeds / rng.choice(("segnet.pt", "basic.pt"))
    path = case.given / "m.pt"
    write_checkpoint(seed, path, rng)

    def run() -> int:
        import torch

        from segnet_export import load_checkpoint

        loaded = load_checkpoint(path, assume_segnet=rng.random() < 0.3)
        with torch.no_grad():
            loaded.model.eval()(torch.zeros(1, loaded.in_channels, 32, 32))
        return 0

    case.name, case.run, case.is_command = f"checkpoint {seed.stem}", run, False


def _engine(case: Case, seeds: Path, rng: random.Random) -> None:
    """Load a plan or its sidecar, with the ONNX file that it names beside it."""
    path, sidecar = case.given / "m.trt", case.given / "m.trt.json"
    plan, text = (seeds / "m.trt").read_bytes(), (seeds / "m.trt.json").read_bytes()
    both = rng.random()
    path.write_bytes(plan if both < 0.6 else mutate_bytes(plan, rng))
    if both < 0.9:
        sidecar.write_bytes(mutate_json(text, rng))
    shutil.copy(seeds / "standard.onnx", case.given / "m.onnx")
    _predict(case, path, seeds, rng)

    def run() -> int | None:
        from segnet_deploy.runtimes.base import StaleEngineError
        from segnet_deploy.runtimes.tensorrt.plan import Plan

        found = Plan.read(path)
        try:
            found.check("1.1.1", (8, 6))
        except StaleEngineError:
            return 0
        _ = found.metadata, found.onnx, found.rebuild_command(), found.plugin(seeds / "m.onnx")
        return 0

    if rng.random() < 0.7:
        case.name, case.run, case.is_command = "plan", run, False


def _config(case: Case, seeds: Path, rng: random.Random) -> None:
    name = rng.choice(("camera.toml", "classes.json", "classes.txt", "b.json"))
    path = case.given / name
    data = (seeds / name).read_bytes()
    path.write_bytes((mutate_json if path.suffix == ".json" else mutate_text)(data, rng))
    if name == "camera.toml":
        _watch(case, seeds / "standard.onnx", seeds, rng)
        from segnet_deploy.cli import camera

        words = ["--config", path, "--engine", seeds / "standard.onnx"]
        words += ["--source", seeds / "data/images", "--labels", case.out / "l.jsonl"]
        words += ["--every-frame", "--duration", "2", "--min-free", "0"]
        case.run = lambda: camera.main([*map(str, words)])
    elif name == "b.json":
        from segnet_deploy.cli import bench

        case.written = ("report.html", "report.md", "plots/*")
        case.run = lambda: bench.main(["--report", str(path), "-o", str(case.out)])
    else:
        _export(case, seeds / "standard.onnx", seeds, random.Random(0))
        from segnet_export import cli

        words = [seeds / "standard.onnx", "-o", case.out / "n.onnx", "--classes", path]
        case.run = lambda: cli.main([*map(str, words)])
    case.name = name


def _image(case: Case, seeds: Path, rng: random.Random) -> None:
    seed = rng.choice(sorted(seeds.glob("frame.*")))
    path = case.given / seed.name
    path.write_bytes(mutate_bytes(seed.read_bytes(), rng))
    _predict(case, seeds / "standard.onnx", seeds, rng)
    from segnet_deploy.cli import predict

    words = ["--engine", seeds / "standard.onnx", "--runtime", "onnxruntime", path]
    words += ["-o", case.out / "d"]
    case.name = f"image {seed.suffix}"
    case.run = lambda: predict.main([*map(str, words)])


def _video(case: Case, seeds: Path, rng: random.Random) -> None:
    seed = seeds / rng.choice(("video.mp4", "video.avi"))
    path = case.given / seed.name
    path.write_bytes(mutate_bytes(seed.read_bytes(), rng))
    from segnet_deploy.cli import camera, predict

    engine = ["--engine", seeds / "standard.onnx", "--runtime", "onnxruntime"]
    case.written, case.partial = ("*",), True
    if rng.random() < 0.5:
        case.name = f"video {seed.suffix}"
        case.run = lambda: predict.main([*map(str, [*engine, path, "-o", case.out / "d"])])
    else:
        words = [*engine, "--source", path, "--labels", case.out / "l.jsonl", "--every-frame"]
        words += ["--min-free", "0", "--duration", "10"]
        case.name = f"camera {seed.suffix}"
        case.run = lambda: camera.main([*map(str, words)])

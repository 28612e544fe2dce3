"""Do mutated files give one clear error in every command, and leave no file?

    python tests/programs/fuzz.py [--cases N] [--seed S] [--kind onnx] [--only NUMBER]

ONNX files of seven kinds, checkpoints, engines and their sidecars, configurations, images and
videos go through predict, export, eval, bench, camera and the preparation of a build. A finding is
a crash, a hang, a traceback, a missing or long error, a stray file, a file read outside the given
folders, over 2 GB of memory, or a result that differs from ONNX Runtime's. Cases run in a forked
process that is replaced when it dies. Case NUMBER of seed S is always the same. Exit status 1 if
there are findings. Engines with real plans: fuzz_engines.py.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import select
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from fuzzing.cases import SHARES
from fuzzing.worker import MEMORY_NOTED, Plan, serve

CPU_LIMIT = 30.0  # seconds of one case
WALL_LIMIT = 240.0  # on a busy machine


@dataclass
class Run:
    """What was run and found so far."""

    done: int = 0
    kinds: collections.Counter[str] = field(default_factory=collections.Counter)
    findings: list[dict[str, Any]] = field(default_factory=list)


def make_seeds(root: Path) -> None:
    """Write the valid files of every kind, in a child: no runtime may run before the fork."""
    if child := os.fork():
        if os.waitpid(child, 0)[1]:
            raise SystemExit("the seeds could not be made")
        return
    try:
        _write_all_seeds(root / "seeds")
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        os._exit(1)
    os._exit(0)


def _write_all_seeds(folder: Path) -> None:
    import torch
    from fuzzing.seeds import onnx_seeds, write_seeds

    from segnet_deploy.cli import bench
    from segnet_export import SegNet, SegNetBasic, SegNetConfig

    folder.mkdir()
    for kind, model in onnx_seeds().items():
        (folder / f"{kind}.onnx").write_bytes(model.SerializeToString())
    write_seeds(folder)
    torch.save(SegNet(SegNetConfig.standard(3, width=2)).state_dict(), folder / "segnet.pt")
    torch.save(SegNetBasic(3, width=2).state_dict(), folder / "basic.pt")
    words = ["--engine", str(folder / "standard.onnx"), "--runs", "2", "--runtime", "onnxruntime"]
    assert bench.main([*words, "--json", str(folder / "b.json"), "-q"]) == 0


def fuzz(
    numbers: list[int],
    seed: int,
    kind: str | None = None,
    keep: Path | None = None,
    quiet: bool = True,
) -> Run:
    """Run the cases with these numbers; return what was found."""
    run = Run()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        os.environ |= {"SEGNET_AUTO": "order", "HOME": str(root), "XDG_CACHE_HOME": str(root)}
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        _import_libraries()
        make_seeds(root)
        left, plan = list(numbers), Plan(seed, kind, root, keep)
        while left:
            left = _run_worker(left, plan, run, quiet)
    return run


def _import_libraries() -> None:
    """Import once, before the fork, what every worker needs; nothing is started by that."""
    for module in ("cv2", "onnxruntime", "openvino", "ncnn", "torch", "segnet_export.cli"):
        try:
            __import__(module)
        except ImportError:
            continue


def _run_worker(numbers: list[int], plan: Plan, run: Run, quiet: bool) -> list[int]:
    """Run cases until the worker ends; return those that are left."""
    reader, writer = os.pipe()
    if not (child := os.fork()):
        try:
            os.close(reader)
            serve(numbers, plan, os.fdopen(writer, "wb"))
        except BaseException as error:
            os.write(writer, json.dumps({"broken": repr(error)}).encode() + b"\n")
        os._exit(0)
    os.close(writer)
    current: dict[str, Any] = {}
    for message in _messages(reader, child):
        if "start" in message:
            current = message
        elif "end" in message:
            _record(run, current, message, quiet)
            current = {}
        else:
            raise SystemExit(f"the fuzzer itself failed: {message}")
    os.close(reader)
    status = os.waitpid(child, 0)[1]
    if current:
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        wrong = "hang" if number == signal.SIGKILL else f"crash by signal {number}"
        plan.keep_case(current["start"])
        _record(run, current, {"wrong": wrong, "memory": 0}, quiet)
        return numbers[numbers.index(current["start"]) + 1 :]
    return []


def _messages(reader: int, child: int) -> Any:
    """Yield the worker's messages until it ends; kill it if a case takes too long."""
    pending, started, cpu = b"", time.monotonic(), _cpu_seconds(child)
    while True:
        if not select.select([reader], [], [], 2.0)[0]:
            late = time.monotonic() - started > WALL_LIMIT
            if late or _cpu_seconds(child) - cpu > CPU_LIMIT:
                os.kill(child, signal.SIGKILL)
            continue
        chunk = os.read(reader, 1 << 16)
        if not chunk:
            return
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            started, cpu = time.monotonic(), _cpu_seconds(child)
            yield json.loads(line)


def _cpu_seconds(process: int) -> float:
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return 0.0
    fields = text.rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _record(run: Run, start: dict[str, Any], end: dict[str, Any], quiet: bool) -> None:
    run.done += 1
    run.kinds[start["kind"]] += 1
    wrong = end["wrong"]
    if end["memory"] > MEMORY_NOTED:
        wrong = f"{end['memory'] / 1e9:.1f} GB of memory; {wrong}"
    if wrong:
        finding = {"number": start["start"], "name": start["name"], "wrong": wrong}
        run.findings.append(finding)
        print(f"FOUND {json.dumps(finding)}", flush=True)
    if run.done % 100 == 0 and not quiet:
        print(f"{run.done} cases, {len(run.findings)} findings", file=sys.stderr, flush=True)


def main() -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--cases", type=int, default=1000, help="default: 1000")
    add("--seed", type=int, default=0, help="default: 0")
    add("--kind", choices=tuple(SHARES), help="default: all, in fixed shares")
    add("--first", type=int, default=0, metavar="NUMBER", help="number of the first case")
    add("--only", type=int, metavar="NUMBER", help="one case")
    add("--keep", type=Path, metavar="DIR", help="keep the files of findings")
    arguments = parser.parse_args()
    numbers = list(range(arguments.first, arguments.first + arguments.cases))
    if arguments.only is not None:
        numbers = [arguments.only]
    started = time.monotonic()
    run = fuzz(numbers, arguments.seed, arguments.kind, arguments.keep, quiet=False)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(run.kinds.items()))
    print(
        f"{run.done} cases of seed {arguments.seed} in {time.monotonic() - started:.0f} s "
        f"({kinds}): {len(run.findings)} findings"
    )
    return 1 if run.findings else 0


if __name__ == "__main__":
    sys.exit(main())

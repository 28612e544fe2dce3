"""The SegNet paper's Table 6 on this machine, in one command.

    python benchmarks/paper.py -o out/paper [--backward]

Exports the networks that the paper compares (seeded weights: time and memory do not depend on
them), measures them as `segnet-bench --paper` does, judges the claims and writes a report.
What is there already is kept; a second call goes on from it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from segnet_deploy.bench.comparison import Extras, Settings, compare
from segnet_deploy.bench.comparison.document import FILE_NAME
from segnet_deploy.bench.comparison.table import format_comparison
from segnet_deploy.bench.paper import TITLES
from segnet_deploy.bench.report import write_report
from segnet_deploy.bench.result import Comparison
from segnet_deploy.bench.timing import Timing
from segnet_deploy.errors import InputError, SegNetError, UsageError
from segnet_deploy.files import atomic_write, make_folder
from segnet_deploy.runtimes.base import CHOICES
from segnet_deploy.system.memory import peak_rss_bytes, rss_bytes

TABLE_6 = ("segnet", "fcn-8s", "deeplab-largefov", "deconvnet", "unet")
TABLE_1 = tuple(name for name in TITLES if "basic" in name or "bilinear" in name)
SETS = {"table6": TABLE_6, "table1": TABLE_1, "all": tuple(TITLES)}
MEAN, STD = (104.0, 117.0, 123.0), (58.0, 58.0, 58.0)
TRAINING_BATCH = 4  # the paper's


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what `function` returns in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def export_network(
    name: str, path: str, classes: int, size: tuple[int, int], width: int, runtime: str, full: bool
) -> str:
    """Export one network; return the gate's table. `full` gates on made-up ties as well."""
    import torch

    from segnet_export.exporter import export
    from segnet_export.models import create

    module = create(name, classes, width=width, size=size)
    result = export(
        module,
        torch.zeros(1, 3, *size),
        path,
        mean=MEAN,
        std=STD,
        network=name,
        runtimes=None if runtime == "auto" else [runtime],
        adversarial=full,
    )
    return str(result.gate)


def training_cost(
    name: str, classes: int, size: tuple[int, int], width: int, threads: int | None, runs: int
) -> dict[str, Any]:
    """Return PyTorch's seconds of a backward pass at batch 1, and a step's memory at batch 4.

    The step is forward, cross-entropy, backward and SGD with momentum; memory is the process'
    peak above what it had with torch loaded.
    """
    import torch
    from torch.nn import functional as F

    from segnet_export.models import create

    if threads:
        torch.set_num_threads(threads)
    torch.nn.functional.conv2d(torch.zeros(1, 3, 16, 16), torch.zeros(3, 3, 3, 3))
    baseline = rss_bytes() or 0
    module = create(name, classes, width=width, size=size)
    for layer in module.modules():  # whole-map layers have one value per channel at batch 1
        layer.train(not isinstance(layer, torch.nn.BatchNorm2d))
    optimiser = torch.optim.SGD(module.parameters(), lr=1e-6, momentum=0.9)
    samples: dict[str, list[float]] = {"forward": [], "backward": []}
    for batch in (1,) * (runs + 1) + (TRAINING_BATCH,):
        x, labels = torch.randn(batch, 3, *size), torch.zeros(batch, *size, dtype=torch.long)
        optimiser.zero_grad()
        started = time.perf_counter()
        loss = F.cross_entropy(module(x), labels)
        forward = time.perf_counter()
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types here
        ended = time.perf_counter()
        if batch == 1:
            samples["forward"].append(forward - started)
            samples["backward"].append(ended - forward)
    optimiser.step()
    peak = peak_rss_bytes() or 0
    timing = {part: Timing(tuple(values[1:])) for part, values in samples.items()}
    return {
        "seconds": timing["backward"].summary(),
        "forward_seconds": timing["forward"].summary(),
        "samples": {part: list(values.samples) for part, values in timing.items()},
        "training_bytes": peak,
        "training_added_bytes": peak - baseline,
        "batch": TRAINING_BATCH,
        "torch": torch.__version__,
    }


def export_all(arguments: argparse.Namespace, folder: Path) -> list[Path]:
    """Export what is missing, or was made otherwise; return the files.

    A network that fails is named and left out. Raises InputError where all fail.
    """
    make_folder(folder)
    made = folder / "exports.json"
    known = json.loads(made.read_text()) if made.is_file() else {}
    paths = []
    for name in arguments.networks:
        size = tuple(arguments.imgsz or ((224, 224) if name.endswith("original") else (360, 480)))
        path = folder / f"{name}.onnx"
        wanted = {"classes": arguments.num_classes, "size": list(size), "width": arguments.width}
        wanted |= {"full_gate": arguments.full_gate}
        before = {"full_gate": False} | known.get(name, {})
        if path.is_file() and before in (wanted, wanted | {"full_gate": True}):
            paths.append(path)
            continue
        say(f"{name}: exporting")
        started = time.perf_counter()
        options = (arguments.num_classes, size, arguments.width)
        try:
            table = in_fresh_process(
                export_network, name, str(path), *options, arguments.runtime, arguments.full_gate
            )
        except BrokenProcessPool:
            say(f"left out: {name}: its export was ended, as when memory runs out")
            continue
        except SegNetError as error:
            say(f"left out: {name}: {error}")
            continue
        paths.append(path)
        say(f"{table}\n{path}: gate passed, {time.perf_counter() - started:.0f} s")
        known[name] = wanted
        atomic_write(made, (json.dumps(known, indent=1) + "\n").encode())
    if not paths:
        raise InputError("no network could be exported; what is wrong is said above")
    return paths


def add_backward(arguments: argparse.Namespace, comparison: Comparison, folder: Path) -> None:
    """Put the cost of training beside each network; save after each."""
    path = folder / FILE_NAME
    for network in comparison.networks:
        if network.backward or network.error or network.input is None:
            continue
        say(f"{network.name}: backward pass and training memory in PyTorch")
        size = network.input[2:4]
        options = (arguments.num_classes, tuple(size), arguments.width, arguments.threads, 3)
        try:
            name = Path(network.engine).stem
            network.backward = in_fresh_process(training_cost, name, *options)
        except (BrokenProcessPool, RuntimeError) as error:
            say(f"left out: {network.name}: {str(error).splitlines()[0]}")
            continue
        content: dict[str, Any] = json.loads(path.read_text())  # other calls' networks as well
        for record in content["networks"]:
            if record["engine"] == network.engine:
                record["backward"] = network.backward
        atomic_write(path, (json.dumps(content, indent=1) + "\n").encode())


def say(text: str, done: int | None = None, total: int | None = None) -> None:
    """Talk goes to stderr."""
    count = "" if done is None else f": {done} of {total}"
    print(f"{text}{count}", file=sys.stderr, flush=True)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("out/paper"), metavar="DIR")
    parser.add_argument(
        "--networks",
        nargs="+",
        default=["table6"],
        metavar="NAME",
        help=f"names of segnet-export --arch, or {', '.join(SETS)} (default: table6 and U-Net)",
    )
    parser.add_argument("--runtime", default="onnxruntime", choices=CHOICES)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--runs", type=int, default=2, help="timed calls of each round")
    parser.add_argument("--num-classes", type=int, default=11)
    parser.add_argument("--imgsz", nargs=2, type=int, metavar=("H", "W"))
    parser.add_argument("--width", type=int, default=64, help="channels of the first stage")
    parser.add_argument("--backward", action="store_true", help="also training, in PyTorch")
    parser.add_argument("--layers", action="store_true")
    parser.add_argument("--power", action="store_true")
    parser.add_argument(
        "--export-only", action="store_true", help="for segnet-bench --paper on a device"
    )
    parser.add_argument("--full-gate", action="store_true", help="gate on made-up ties as well")
    parser.add_argument("--fresh", action="store_true", help="measure again what is there")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Export, measure, judge, report; return the exit status."""
    arguments = build_parser().parse_args(argv)
    chosen = [name for word in arguments.networks for name in SETS.get(word, (word,))]
    arguments.networks = list(dict.fromkeys(chosen))
    try:
        if unknown := [name for name in arguments.networks if name not in TITLES]:
            raise UsageError(f"--networks {unknown[0]}; expected {', '.join([*SETS, *TITLES])}")
        files = export_all(arguments, arguments.output / "networks")
        left_out = len(files) < len(arguments.networks)
        if arguments.export_only:
            return int(left_out)
        settings = Settings(
            arguments.runtime,
            arguments.threads,
            arguments.rounds,
            arguments.runs,
            tuple(arguments.imgsz or (360, 480)),
        )
        extras = Extras(layers=arguments.layers, power=arguments.power)
        comparison = compare(
            files,
            settings,
            arguments.output,
            extras,
            fresh=arguments.fresh,
            judge=True,
            progress=say,
        )
        if arguments.backward:
            add_backward(arguments, comparison, arguments.output)
        print(format_comparison(comparison))
        for path in write_report(comparison, arguments.output):
            say(str(path))
    except SegNetError as error:
        say(f"error: {error}")
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        say("interrupted; the same command goes on from what is saved")
        return 130
    return int(left_out or any(network.error for network in comparison.networks))


if __name__ == "__main__":
    sys.exit(main())

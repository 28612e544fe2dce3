"""Does TensorRT-RTX build and run an engine here, and what does it say if it does not?

The answer is recorded, whatever it is: this GPU need not be one that TensorRT-RTX supports. The
packages come from `--extra` (gpu/wheels.py) or from the installation.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from gpu.libraries import PLUGIN, fits
from gpu.onnx_skeletons import read_skeleton
from gpu.onnxruntime_cuda import skeleton_folder
from gpu.place import ROOT, Place
from gpu.record import Record

BUILD_LIMIT, RUN_LIMIT = 30.0, 15.0  # s
LIBRARIES = "tensorrt_rtx_libs"
# No target is the GPU that is here; the others are the nearest that the builder lists.
TARGETS = (None, "sm89", "sm80")
PROBE = (
    "from segnet_deploy.runtimes.tensorrt.library import load; print(load('tensorrt-rtx').version)"
)


def run(place: Place, record: Record) -> None:
    """Build each form with each target, and run what was built."""
    environment = _environment(place)
    probe = _call([sys.executable, "-c", PROBE], environment, RUN_LIMIT)
    record.fact("tensorrt-rtx", probe)
    record.must("TensorRT-RTX can be loaded", probe["status"] == 0, probe["tail"][-1:])
    source = place.folder / "rtx.onnx"
    source.write_bytes(read_skeleton(skeleton_folder(place) / "plain-fp32.onnx"))
    for form in ("lowered", "plugin"):
        for target in TARGETS if not place.dry else TARGETS[:2]:
            record.row("engines", form=form, target=target, **_try(place, source, form, target))


def _try(place: Place, source: Path, form: str, target: str | None) -> dict[str, Any]:
    """Build one engine, and time it if it was built; return what happened."""
    environment = _environment(place)
    engine = place.folder / f"{form}-{target or 'here'}.trt"
    command = [sys.executable, "-m", "segnet_deploy.cli.build", str(source), "-o", str(engine)]
    command += ["--builder", "tensorrt-rtx", "--form", form, "--precision", "fp16"]
    command += ["--target", target] if target else []
    if form == "plugin":
        plugin = place.prebuilt / PLUGIN
        if not plugin.is_file() or not fits(place.prebuilt):
            why = f"{plugin.name} was not built from these sources; run gpu/prepare.py"
            return {"built": {"status": None, "tail": [why]}}
        command += ["--plugin", str(plugin), "--embed-plugin"]
    found = {"built": _call(command, environment, BUILD_LIMIT)}
    if engine.is_file():
        command = [sys.executable, "-m", "segnet_deploy.cli.bench", "--engine", str(engine)]
        found["ran"] = _call(command, environment, RUN_LIMIT)
    return found


def _environment(place: Place) -> dict[str, str]:
    """Return an environment in which the packages and libraries of the extra folder are found."""
    paths = [str(ROOT), str(ROOT / "export"), os.environ.get("PYTHONPATH", "")]
    libraries = [os.environ.get("LD_LIBRARY_PATH", "")]
    if place.extra is not None:
        paths.insert(0, str(place.extra))
        links = place.folder / "rtx-libraries"
        links.mkdir(exist_ok=True)
        # The parser opens the library by its name without a version.
        for path in (place.extra / LIBRARIES).glob("lib*.so.*"):
            for name in (path.name, path.name.partition(".so")[0] + ".so"):
                if not (links / name).is_symlink():
                    (links / name).symlink_to(path)
        libraries.insert(0, str(links))
    joined = {"PYTHONPATH": paths, "LD_LIBRARY_PATH": libraries}
    return {**os.environ, **{k: os.pathsep.join(filter(None, v)) for k, v in joined.items()}}


def _call(command: list[str], environment: dict[str, str], limit: float) -> dict[str, Any]:
    """Run a command; return its exit status, None if it was stopped, and its last lines."""
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"status": None, "tail": [f"stopped after {limit:.0f} s"]}
    text = done.stdout + done.stderr
    print(" ".join(command), text[-4000:], sep="\n", flush=True)
    return {"status": done.returncode, "tail": text.strip().splitlines()[-6:]}

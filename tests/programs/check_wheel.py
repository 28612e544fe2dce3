"""Install a wheel into empty environments and use it there.

    python tests/programs/check_wheel.py dist/segnet_deploy-*.whl
    python tests/programs/check_wheel.py dist/segnet_deploy-*.whl --extras camera web eval
    python tests/programs/check_wheel.py --installed     # in the environment of this Python

For each Python 3.10 to 3.13 on this machine: `pip check`, then the installed commands on a small
net with MaxUnpool and a drawn frame, whose labels must be those of ONNX Runtime's own operators.
--extras instead installs each extra into an environment of its own, for `pip check` and what
segnet-doctor examines. Needs a package index, except with --installed.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from resolve_extras import PYTHONS

EXTRAS = "onnxruntime,camera"
LIBRARIES = ("segnet_cpu", "segnet_onnxruntime", "segnet_reference")
RUNS = 5


def main() -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path, nargs="?")
    parser.add_argument("--python", nargs="+", metavar="PATH", help="default: 3.10 to 3.13")
    parser.add_argument("--extras", nargs="+", metavar="NAME", help="one environment for each")
    parser.add_argument("--installed", action="store_true", help="check this environment")
    arguments = parser.parse_args()
    if arguments.installed:
        use_installed()
        return 0
    if arguments.wheel is None:
        parser.error("expected a wheel, such as dist/segnet_deploy-*.whl, or --installed")
    pythons = [python for python in arguments.python or map(find_python, PYTHONS) if python]
    if arguments.extras:
        passed = [check_extra(arguments.wheel, pythons[0], name) for name in arguments.extras]
    else:
        passed = [check_python(arguments.wheel, python) for python in pythons]
    return 0 if passed and all(passed) else 1


def find_python(version: str) -> str | None:
    """Return the Python of that version, or None, with a line that says so."""
    folders = [os.environ["PATH"]]
    folders += map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin"))
    for folder in folders:
        path = shutil.which(f"python{version}", path=folder)
        if (
            path
            and not subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode
        ):
            return path  # a version manager's program may be there without that Python
    print(f"skipped: python{version} is not on this machine", flush=True)
    return None


def check_python(wheel: Path, python: str) -> bool:
    """Install the wheel with a runtime and use it; return whether all is well."""
    with tempfile.TemporaryDirectory(prefix="wheel-") as name:
        command = [environment_python(Path(name)), str(Path(__file__).resolve()), "--installed"]
        return install(wheel, EXTRAS, python, Path(name)) and report(
            f"commands, {Path(python).name}", command, name
        )


def check_extra(wheel: Path, python: str, extra: str) -> bool:
    """Install the wheel with an extra and run segnet-doctor; return whether all is well."""
    with tempfile.TemporaryDirectory(prefix="extra-") as name:
        examine = "from segnet_deploy.runtimes.diagnosis import examine; assert examine()"
        return install(wheel, extra, python, Path(name)) and report(
            f"segnet-doctor [{extra}]", [environment_python(Path(name)), "-c", examine], name
        )


def install(wheel: Path, extras: str, python: str, folder: Path) -> bool:
    """Create an environment with the wheel; return whether pip found it consistent."""
    subprocess.run([python, "-m", "venv", folder], check=True)
    pip = [environment_python(folder), "-m", "pip", "--disable-pip-version-check"]
    requirement = f"segnet-deploy[{extras}] @ {wheel.resolve().as_uri()}"
    title = f"[{extras}], {Path(python).name}"
    return report(f"install {title}", [*pip, "install", "--quiet", requirement], folder) and report(
        f"pip check {title}", [*pip, "check"], folder
    )


def environment_python(folder: Path) -> str:
    """Return the Python of an environment."""
    return str(folder / "bin/python")


def report(title: str, command: list[str], folder: str | Path) -> bool:
    """Run a command in a folder away from the source; print one line, and why if it failed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    print(f"{'FAILED' if done.returncode else 'ok':8}{title}", flush=True)
    if done.returncode:
        print(done.stdout[-3000:], done.stderr[-3000:], sep="", flush=True)
    return done.returncode == 0


def use_installed() -> None:
    """Use the installed package as a person would. Raises AssertionError."""
    import segnet_deploy

    home = Path(segnet_deploy.__file__).parent
    assert home.parent.name == "site-packages", f"{home} is not an installed package"
    assert segnet_deploy.__version__ == metadata.version("segnet-deploy")
    for name in LIBRARIES:
        ctypes.CDLL(str(home / f"native/lib/lib{name}.so"))
    for point in metadata.distribution("segnet-deploy").entry_points:
        run_command(point.name, "--help")
    with tempfile.TemporaryDirectory() as name:
        segment_and_measure(Path(name))


def segment_and_measure(folder: Path) -> None:
    """Run the commands on a net and a frame, and compare the labels with ONNX Runtime's."""
    import cv2
    import numpy as np

    from segnet_deploy.scenes import draw_scene

    frame = draw_scene(0, 48, 64).frame
    net, image, converted = folder / "net.onnx", folder / "street.png", folder / "lowered.onnx"
    write_net(net)
    cv2.imwrite(str(image), frame)
    run_command("segnet-doctor")
    run_command("segnet-export", net, "-o", converted, "--form", "lowered")
    expected = labels_of_onnxruntime(net, frame)
    assert len(np.unique(expected)) > 1
    for file in (net, converted):
        out = folder / file.stem
        run_command("segnet-predict", "--engine", file, image, "-o", out)
        labels = cv2.imread(str(out / "street_labels.png"), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(labels, expected), f"{file.name}: other labels than ONNX Runtime's"
    run_command("segnet-predict", "--engine", "demo", image, "-o", folder / "demo")
    text = run_command("segnet-bench", "--engine", net, "--runs", str(RUNS), "--json", "-")
    assert json.loads(text)["runs"] == RUNS


def run_command(name: str, *arguments: str | Path) -> str:
    """Run an installed command and return its stdout. Raises AssertionError if it fails."""
    command = [str(Path(sys.executable).parent / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


def write_net(path: Path) -> None:
    """Write convolution, max-pooling with indices, unpooling, convolution: 1x3x48x64, 5 classes."""
    import numpy as np
    import onnx
    from onnx import helper as h

    random = np.random.default_rng(0)
    windows = {"kernel_shape": [2, 2], "strides": [2, 2]}
    same: dict[str, Any] = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    nodes = [
        h.make_node("Conv", ["image", "w0"], ["c0"], **same),
        h.make_node("MaxPool", ["c0"], ["pooled", "index"], **windows),
        h.make_node("MaxUnpool", ["pooled", "index"], ["unpooled"], **windows),
        h.make_node("Conv", ["unpooled", "w1"], ["logits"], **same),
    ]
    weights = {"w0": (8, 3, 3, 3), "w1": (5, 8, 3, 3)}
    constants = [
        onnx.numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name)
        for name, shape in weights.items()
    ]
    ends = [("image", [1, 3, 48, 64]), ("logits", [1, 5, 48, 64])]
    info = [[h.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s)] for n, s in ends]
    graph = h.make_graph(nodes, "net", info[0], info[1], constants)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(path))


def labels_of_onnxruntime(net: Path, frame: Any) -> Any:
    """Return the labels of ONNX Runtime's own operators, for BGR from 0 to 255."""
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(str(net), providers=["CPUExecutionProvider"])
    image = np.ascontiguousarray(frame.transpose(2, 0, 1)[None].astype(np.float32))
    return session.run(None, {"image": image})[0].argmax(1)[0]


if __name__ == "__main__":
    sys.exit(main())

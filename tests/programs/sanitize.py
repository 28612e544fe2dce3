"""Do the native libraries stay inside their buffers, for valid and for invalid arguments?

    python tests/programs/sanitize.py [--cases N] [--seed S]

Compiles plugins/cpu, plugins/reference, plugins/onnxruntime and the code of the CUDA kernels with
AddressSanitizer and UndefinedBehaviorSanitizer, and runs random cases in a child process: results
equal numpy's, and invalid arguments return an error. Needs GCC. Exit status 1 at the first case
that fails.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
FLAGS = ["-std=c++17", "-O1", "-g1", "-fPIC", "-shared", "-fno-omit-frame-pointer", "-pthread"]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
RUNTIMES = ("libasan.so", "libubsan.so")
SOURCES = {
    "cpu": ["plugins/cpu/byte_codes.cpp", "plugins/cpu/label_map.cpp"],
    "reference": ["plugins/reference/reference.cpp"],
    "two_bit_codes": ["plugins/cpu/two_bit_codes.cpp", "tests/programs/two_bit_codes.cpp"],
    "onnxruntime": [
        "plugins/onnxruntime/operators.cpp",
        "plugins/onnxruntime/cpu.cpp",
        "plugins/onnxruntime/cuda_stub.cpp",
        "plugins/cpu/two_bit_codes.cpp",
    ],
    "host_loop": ["plugins/tools/host_loop.cpp"],
}
AT = "at"  # a file with the number of the case that runs; a sanitizer ends the process


def runtimes() -> list[str]:
    """Return the paths of the sanitizers' libraries, or an empty list without GCC's."""
    if shutil.which("c++") is None or sys.platform != "linux":
        return []
    found = []
    for name in RUNTIMES:
        command = ["c++", f"-print-file-name={name}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found.append(done.stdout.strip())
    return found if all(map(os.path.isabs, found)) else []


def compile_libraries(folder: Path) -> None:
    """Compile every library of SOURCES into `folder`."""

    def compile_one(name: str) -> None:
        sources = [str(ROOT / source) for source in SOURCES[name]]
        folders = [f"-I{ROOT / 'plugins' / part}" for part in ("include", "cpu", "cuda")]
        command = ["c++", *FLAGS, *SANITIZE, *folders, *sources, "-o", str(folder / f"{name}.so")]
        subprocess.run(command, check=True)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(compile_one, SOURCES))


def run_cases(folder: Path, count: int, seed: int) -> int:
    """Run the cases in this process, which has the sanitizers loaded; return the exit status."""
    import sanitize_byte_codes as byte_codes
    import sanitize_cases as others

    libraries = others.Libraries(folder)
    kinds = (
        byte_codes.byte_codes,
        byte_codes.wrong_byte_codes,
        byte_codes.label_map,
        others.reference,
        others.two_bit_codes,
        others.host_loop,
        others.onnxruntime_operators,
        others.malformed_nodes,
        others.python_calls,
    )
    done: Counter[str] = Counter()
    with (folder / AT).open("w") as at:
        for number in range(seed, seed + count):
            kind = kinds[number % len(kinds)]
            at.seek(0)
            at.truncate()
            at.write(f"seed {number}, {kind.__name__}")
            at.flush()
            try:
                kind(libraries, np.random.default_rng(number))
            except AssertionError as error:
                print(error, file=sys.stderr)
                return 1
            done[kind.__name__] += 1
            if number % 1000 == 999:
                print(f"{number + 1 - seed} of {count}", file=sys.stderr)
    print(", ".join(f"{name} {total}" for name, total in done.items()))
    return 0


def find_failure(count: int, seed: int) -> str:
    """Compile, and run the cases in a child; return the first that fails, or an empty string."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compile_libraries(folder)
        environment = {
            **os.environ,
            "LD_PRELOAD": " ".join(runtimes()),
            # Python and ONNX Runtime keep memory until the end. A huge allocation returns null.
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
            "UBSAN_OPTIONS": "print_stacktrace=1",
            "PYTHONPATH": os.pathsep.join(
                [str(ROOT), *(str(ROOT / "tests" / part) for part in ("support", "programs"))]
            ),
        }
        command = [sys.executable, __file__, "--in", name, "--cases", str(count)]
        status = subprocess.run([*command, "--seed", str(seed)], env=environment, check=False)
        if status.returncode == 0:
            return ""
        return f"{(folder / AT).read_text()}: exit status {status.returncode}"


def main() -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=20_000, help="default: 20000")
    parser.add_argument("--seed", type=int, default=0, help="first seed (default: 0)")
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.folder is not None:
        return run_cases(arguments.folder, arguments.cases, arguments.seed)
    if not runtimes():
        print("error: no GCC with libasan and libubsan on Linux", file=sys.stderr)
        return 1
    failure = find_failure(arguments.cases, arguments.seed)
    if failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    print(f"{arguments.cases} cases: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())

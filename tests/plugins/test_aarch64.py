"""The CPU libraries, cross-compiled for 64-bit ARM, on the table of cases in qemu.

The operators' kernels are in test_cpu_two_bit_codes.py. `make aarch64` runs the runtimes too.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aarch64
import cases
import numpy as np
import pytest

from segnet_deploy.system.cpu_features import advise, cpu_features, cpu_flags

ROOT = Path(__file__).parents[2]
FLAGS = ["-std=c++17", "-O3", "-fno-trapping-math", "-Wall", "-Wextra", "-Werror", "-static"]
SOURCES = (
    "plugins/cpu/byte_codes.cpp",
    "plugins/cpu/label_map.cpp",
    "plugins/reference/reference.cpp",
    "tests/plugins/drive_cpu_libraries.cpp",
)
REFERENCE, BYTE_CODES, LABEL_MAP = range(3)  # in drive_cpu_libraries.cpp
ELEMENTS = (np.float32, np.int8, np.uint8)  # CpuElement in plugins/include/segnet/window_code.h
PACKS = (1, 4, 8, 16)


@pytest.mark.needs("aarch64")
def test_cpu_libraries_equal_the_table(tmp_path: Path) -> None:
    program = tmp_path / "drive"
    include = f"-I{ROOT / 'plugins/include'}"
    sources = [str(ROOT / source) for source in SOURCES]
    subprocess.run([aarch64.COMPILER, *FLAGS, include, *sources, "-o", program], check=True)
    found = [piece for case in cases.CASES for piece in _pieces(case)]
    data = b"".join(given for _, given, _ in found)
    command = [str(aarch64.emulator()), str(program)]
    done = subprocess.run(command, input=data, capture_output=True, check=True)
    at = 0
    for name, _, expected in found:
        same = done.stdout[at : at + len(expected)] == expected
        assert same, name
        at += len(expected)
    assert at == len(done.stdout)


def _pieces(case: cases.PoolCase) -> Iterator[tuple[str, bytes, bytes]]:
    """Return, for each function and type, a name, the driver's input, and its expected output."""
    x = case.make()
    ceil = case.ceil_mode
    y, index = cases.pool_reference(x, ceil)
    y = cases.gather(x, index)  # the element itself, with a zero's sign
    words = cases.pack_codes(cases.codes_from_index(index, x.shape[3]))
    back = cases.unpool_reference(y, index, x.shape[2:])
    expected = b"".join(array.tobytes() for array in (y, words, back))
    yield f"{case} reference", _header(REFERENCE, 0, x.shape, ceil) + x.tobytes(), expected
    labels = x[0].argmax(0).astype(np.uint8)
    header = _header(LABEL_MAP, 0, (1, *x.shape[1:]), ceil)
    yield f"{case} labels", header + x[0].tobytes(), labels.tobytes()
    for number, dtype in enumerate(ELEMENTS):
        for pack in PACKS:
            given, expected = _packed(cases.as_type(x, dtype), ceil, pack, number)
            yield f"{case} byte codes {np.dtype(dtype)} {pack}", given, expected


def _packed(x: Any, ceil_mode: bool, pack: int, element: int) -> tuple[bytes, bytes]:
    """Return the input and the expected output of the byte codes for `pack` packed channels."""
    n, c, h, w = x.shape
    planes = np.zeros((n, -(-c // pack) * pack, h, w), x.dtype)
    planes[:, :c] = x
    planes = planes.reshape(-1, pack, h, w)
    values = planes.astype(np.float32)
    _, index = cases.pool_reference(values, ceil_mode)
    y = cases.gather(values, index)
    codes = cases.codes_from_index(index, w).astype(np.uint8)
    back = cases.unpool_reference(y, index, (h, w))

    def packed(array: Any, dtype: Any) -> bytes:
        return array.astype(dtype).transpose(0, 2, 3, 1).tobytes()

    parts = (packed(y, x.dtype), packed(codes, np.uint8), packed(back, x.dtype))
    header = _header(BYTE_CODES, element, planes.shape, ceil_mode)
    return header + packed(planes, x.dtype), b"".join(parts)


def _header(kind: int, element: int, shape: tuple[int, ...], ceil_mode: bool) -> bytes:
    return np.array([kind, element, *shape, ceil_mode], np.int64).tobytes()


@pytest.mark.parametrize(
    ("board", "features", "advice"),
    [
        ("pi4", ["NEON"], "no instructions for reduced precision"),
        ("pi5", ["FP16", "NEON", "dot product"], "files in int8, fp16 are"),
        ("altra", ["FP16", "NEON", "dot product"], "files in int8, fp16 are"),
        ("grace", ["BF16", "FP16", "NEON", "dot product", "i8mm", "SVE"], "in int8, fp16 are"),
    ],
)
def test_features_of_boards(board: str, features: list[str], advice: str, tmp_path: Path) -> None:
    aarch64.BOARDS[board].write_files(tmp_path, 4)
    found = cpu_features(cpu_flags(tmp_path / "proc/cpuinfo"))
    assert found == features
    assert advice in advise(found)

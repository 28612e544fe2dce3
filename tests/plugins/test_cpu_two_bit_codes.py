"""The CPU kernels with 2-bit codes on the table of cases: on this processor, and NEON in qemu."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import aarch64
import cases
import numpy as np
import pytest

pytestmark = pytest.mark.needs("compiler")
ROOT = Path(__file__).parents[2]
FLAGS = ["-std=c++17", "-O3", "-fno-trapping-math", "-Wall", "-Wextra", "-Werror", "-static"]
ELEMENTS = (np.float32, np.int8, np.uint8)  # CpuElement in plugins/include/segnet/window_code.h
CASES = (*cases.CASES, *(cases.PoolCase(s, c, "relu") for s in cases.LARGER for c in (False, True)))


@pytest.mark.parametrize(
    ("compiler", "runner"),
    [
        pytest.param("c++", [], id="here", marks=pytest.mark.needs("real-processor")),
        pytest.param(
            aarch64.COMPILER, [aarch64.emulator()], id="neon", marks=pytest.mark.needs("aarch64")
        ),
    ],
)
def test_pair_equals_the_table(compiler: str, runner: list[str], tmp_path: Path) -> None:
    program = tmp_path / "drive"
    sources = [
        ROOT / "plugins/cpu/two_bit_codes.cpp",
        ROOT / "tests/plugins/drive_two_bit_codes.cpp",
    ]
    include = f"-I{ROOT / 'plugins/include'}"
    subprocess.run([compiler, *FLAGS, include, *map(str, sources), "-o", program], check=True)
    cases_in, expected = bytearray(), bytearray()
    for number, dtype in enumerate(ELEMENTS):
        for last in (False, True):
            for case in CASES:
                x, results = _expected(case, np.dtype(dtype), last)
                header = [number, last, *case.shape, case.ceil_mode]
                cases_in += np.array(header, np.int64).tobytes() + x
                expected += results
    done = subprocess.run([*runner, program], input=cases_in, capture_output=True, check=True)
    same = done.stdout == expected  # kept apart: pytest would print a diff of megabytes
    assert same


def _expected(case: cases.PoolCase, dtype: np.dtype[Any], last: bool) -> tuple[bytes, bytes]:
    """Return a case's input, and the expected output: y, code words, y unpooled."""
    x = cases.as_type(case.make(), dtype)
    pooled, plane_index = cases.pool_reference(x.astype(np.float32), case.ceil_mode)
    y = cases.gather(x.astype(np.float32), plane_index)  # the element itself, with a zero's sign
    assert np.array_equal(y, pooled)
    back = cases.unpool_reference(y, plane_index, x.shape[2:])
    words = cases.pack_codes(cases.codes_from_index(plane_index, x.shape[3]))
    order = (0, 2, 3, 1) if last else (0, 1, 2, 3)
    parts = [a.astype(dtype).transpose(order).tobytes() for a in (x, y, back)]
    return parts[0], parts[1] + words.tobytes() + parts[2]

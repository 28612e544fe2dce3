"""The native CPU reference of the op pair, on the table of cases."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import cases
import numpy as np
import pytest

pytestmark = pytest.mark.needs("compiler")
ROOT = Path(__file__).parents[2]
FLOATS = np.ctypeslib.ndpointer(np.float32, flags="C")
WORDS = np.ctypeslib.ndpointer(np.int32, flags="C")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    build = tmp_path_factory.mktemp("build")
    if shutil.which("cmake") is None:
        pytest.skip("no cmake on PATH")
    for command in (
        ["cmake", "-S", str(ROOT), "-B", str(build), "-DCMAKE_BUILD_TYPE=Release"],
        ["cmake", "--build", str(build), "--target", "segnet_reference"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    found = ctypes.CDLL(str(next(build.rglob("libsegnet_reference.*"))))
    sizes = [ctypes.c_int64] * 4 + [ctypes.c_int]
    found.segnet_reference_pool.argtypes = [FLOATS, FLOATS, WORDS, *sizes]
    found.segnet_reference_unpool.argtypes = [FLOATS, WORDS, FLOATS, *sizes]
    return found


@pytest.mark.parametrize("case", cases.CASES, ids=str)
def test_reference_equals_the_table(library: ctypes.CDLL, case: cases.PoolCase) -> None:
    x = np.ascontiguousarray(case.make())
    n, c, h, w = x.shape
    expected, plane_index = cases.pool_reference(x, case.ceil_mode)
    y = np.empty_like(expected)
    words = np.full((n, -(-c // 16), *y.shape[2:]), -1, np.int32)
    library.segnet_reference_pool(x, y, words, n, c, h, w, case.ceil_mode)
    assert np.array_equal(y, expected)
    back = np.full_like(x, np.nan)
    library.segnet_reference_unpool(y, words, back, n, c, h, w, case.ceil_mode)
    assert np.array_equal(back, cases.unpool_reference(y, plane_index, (h, w)))
    assert np.array_equal(cases.unpack_codes(words, c), cases.codes_from_index(plane_index, w))
    spare = 2 * (c % 16)
    if spare:
        assert not (words[:, -1].view(np.uint32) >> spare).any()

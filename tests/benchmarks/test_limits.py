"""benchmarks/limits.py: the ceilings, and which of them the floor is taken from."""

from __future__ import annotations

import shutil

import pytest
from limits import format_table

from harness.ceilings import name_rates, run_loops
from segnet_deploy.system.cpu_features import cpu_flags

LOOP = {"int8_with": "AVX-512 VNNI", "bf16_with": "none"}
LOOP |= {"fp32_gmacs": 200.0, "bf16_gmacs": 0.0, "int8_gmacs": 900.0}


def test_rates_have_a_name_and_those_not_measured_are_left_out() -> None:
    found = name_rates(LOOP, {"fp32": 150.0, "int8": None})
    assert found == {
        "fp32": {"FMA loop": 200.0, "GEMM of numpy": 150.0},
        "int8": {"AVX-512 VNNI loop": 900.0},
    }


def test_rates_include_the_tiles_of_amx() -> None:
    tiles = {"amx_bf16_gmacs": 1000.0, "amx_int8_gmacs": 2000.0}
    found = name_rates(LOOP | tiles, {"fp32": 150.0, "int8": 1900.0})
    assert found["bf16"] == {"AMX tile loop": 1000.0}
    assert max(found["int8"], key=lambda name: found["int8"][name]) == "AMX tile loop"


def test_table_says_which_ceiling_was_taken_and_why_not_amx() -> None:
    ceilings = {
        "memcpy_gbs": 10.0,
        "no_amx": "this CPU has no AMX",
        "rates": {"int8": {"AVX-512 VNNI loop": 900.0, "GEMM of onnxruntime": 950.0}},
        "taken": {"int8": "GEMM of onnxruntime"},
    }
    table = format_table(ceilings, [])
    assert "AVX-512 VNNI loop 900, GEMM of onnxruntime 950; taken: GEMM of onnxruntime" in table
    assert "no AMX tile loop: this CPU has no AMX" in table


@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_loops_run_the_tiles_only_where_the_cpu_has_them() -> None:
    found = run_loops(1, 0.01)  # the tile loop ends the program if its sums are wrong
    has_amx = {"amx_tile", "amx_int8", "amx_bf16"} <= cpu_flags()
    assert (found["no_amx"] == "") is has_amx or "kernel" in found["no_amx"]
    assert ("amx_int8_gmacs" in found) is (found["no_amx"] == "")
    assert found["fp32_gmacs"] > 0

"""What a CPU computes, from the flags that the kernel reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from segnet_deploy.system.cpu_features import advise, cpu_features, cpu_flags


@pytest.mark.parametrize(
    ("flags", "features", "files"),
    [
        ("fma avx2", ["AVX2"], "no instructions"),
        ("avx2 avx_vnni", ["AVX2", "VNNI"], "files in int8 are computed in that precision"),
        ("avx2 avx512f avx512_vnni avx512_bf16", ["AVX2", "AVX-512", "VNNI", "BF16"], "int8, bf16"),
        ("amx_int8 amx_bf16 avx512_fp16", ["FP16", "AMX-INT8", "AMX-BF16"], "int8, bf16, fp16"),
        (
            "asimd asimdhp asimddp i8mm bf16",
            ["BF16", "FP16", "NEON", "dot product", "i8mm"],
            "files in int8, fp16 are",
        ),
        ("avx512_fp16x", [], "no instructions"),
    ],
)
def test_features_follow_from_flags(
    flags: str, features: list[str], files: str, tmp_path: Path
) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor : 0\nflags\t\t: {flags}\nprocessor : 1\nflags : none\n")
    assert cpu_features(cpu_flags(path)) == features
    assert files in advise(cpu_features(cpu_flags(path)))


def test_arm_writes_features_and_other_systems_nothing(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nFeatures\t: fp asimd asimddp\n")
    assert cpu_features(cpu_flags(tmp_path / "cpuinfo")) == ["NEON", "dot product"]
    assert cpu_flags(tmp_path / "missing") == set()

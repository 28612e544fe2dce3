"""The CPUs that a process may use: quotas of control groups, version 1 and 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from segnet_deploy import runtimes
from segnet_deploy.system import cpus
from segnet_deploy.system.machine import describe_cpus

V2 = "0::/box/inner\n"
V1 = "9:memory:/box\n3:cpu,cpuacct:/box\n0::/\n"
TREES: dict[str, tuple[str, dict[str, str], float | None]] = {
    "no groups": ("", {}, None),
    "v2": (V2, {"box/inner/cpu.max": "150000 100000"}, 1.5),
    "v2 above": (V2, {"box/inner/cpu.max": "max 100000", "box/cpu.max": "50000 100000"}, 0.5),
    "v2 smallest": (V2, {"box/inner/cpu.max": "300000 100000", "box/cpu.max": "2000 1000"}, 2.0),
    "v2 of the host": (V2, {"cpu.max": "400000 100000"}, 4.0),
    "v2 without a limit": (V2, {"box/cpu.max": "max 100000"}, None),
    "v1": (
        V1,
        {
            "cpu,cpuacct/box/cpu.cfs_quota_us": "250000",
            "cpu,cpuacct/box/cpu.cfs_period_us": "100000",
        },
        2.5,
    ),
    "v1 linked": (
        V1,
        {"cpu/box/cpu.cfs_quota_us": "100000", "cpu/box/cpu.cfs_period_us": "100000"},
        1.0,
    ),
    "v1 without a limit": (
        V1,
        {"cpu/box/cpu.cfs_quota_us": "-1", "cpu/box/cpu.cfs_period_us": "100000"},
        None,
    ),
    "damaged": ("no groups here\n", {}, None),
    "damaged quota": (V2, {"box/cpu.max": "many"}, None),
}


@pytest.mark.parametrize("name", TREES)
def test_quota_is_read_from_control_groups(name: str, tmp_path: Path) -> None:
    groups, files, expected = TREES[name]
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(groups)
    for path, text in files.items():
        file = tmp_path / "sys/fs/cgroup" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    assert cpus.cpu_quota(tmp_path) == expected


@pytest.mark.parametrize(("quota", "threads"), [(None, None), (1.5, 2), (0.2, 1), (8.0, None)])
def test_threads_follow_the_quota_below_the_number_of_cpus(
    quota: float | None, threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpus, "cpu_quota", lambda: quota)
    monkeypatch.setattr(cpus, "usable_cpus", lambda: list(range(8)))
    assert cpus.quota_threads() == threads


def test_engines_start_as_many_threads_as_the_quota_allows(
    small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpus, "cpu_quota", lambda: 0.5)
    engine = runtimes.open(small_model, "onnxruntime")
    assert engine._session.get_session_options().intra_op_num_threads == 1  # type: ignore[attr-defined]
    engine.close()


def test_quota_is_shown_with_the_machine() -> None:
    assert describe_cpus({"cpus": 32}) == "32 CPUs"
    assert describe_cpus({"cpus": 32, "cpu_quota": 1.5}) == "32 CPUs (quota 1.5)"

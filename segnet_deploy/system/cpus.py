"""The CPUs that this process may use: its affinity mask, and the quota of its container."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path


def usable_cpus() -> list[int]:
    """Return the numbers of the CPUs in this process's affinity mask."""
    affinity = getattr(os, "sched_getaffinity", None)
    return sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1))


def cpu_quota(root: str | os.PathLike[str] = "/") -> float | None:
    """Return the CPUs that the control groups of this process allow, such as 1.5; None: no limit.

    Reads cgroup v2's cpu.max and v1's cpu.cfs_quota_us, also of the groups above. Source: the
    Linux kernel's Documentation/admin-guide/cgroup-v2.rst and scheduler/sched-bwc.rst. `root` is
    the folder that contains proc and sys.
    """
    limits = []
    for folder in _groups(Path(root)):
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            if (folder / "cpu.max").is_file():
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota = (folder / "cpu.cfs_quota_us").read_text()
                period = (folder / "cpu.cfs_period_us").read_text()
            limits.append(int(quota) / int(period))  # "max" is a ValueError, -1 means no limit
    return min((limit for limit in limits if limit > 0), default=None)


def quota_threads() -> int | None:
    """Return the number of threads that the quota allows, or None if it is not the limit."""
    quota = cpu_quota()
    if quota is None or quota >= len(usable_cpus()):
        return None
    return math.ceil(quota)


def default_threads() -> int:
    """Return the CPUs that this process may use at once: its mask, within its quota."""
    return quota_threads() or len(usable_cpus())


def _groups(root: Path) -> Iterator[Path]:
    """Yield the folders of this process's groups, and of the groups above them."""
    with contextlib.suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            mount = root / "sys/fs/cgroup" / (controllers and _v1_folder(root, controllers))
            # In a container the path can be that of the host; the mount then is its own group.
            folder = mount / path.lstrip("/")
            yield from (group for group in (folder, *folder.parents) if group.is_relative_to(mount))


def _v1_folder(root: Path, controllers: str) -> str:
    return controllers if (root / "sys/fs/cgroup" / controllers).is_dir() else "cpu"

"""The CPUs that this process may use."""

from __future__ import annotations

import os


def usable_cpus() -> list[int]:
    """Return the numbers of the CPUs in this process's affinity mask."""
    affinity = getattr(os, "sched_getaffinity", None)
    return sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1))

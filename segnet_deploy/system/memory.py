"""Memory of this process and of the machine, in bytes."""

from __future__ import annotations

import ctypes
import sys


def rss_bytes() -> int | None:
    """Return the resident memory of this process now, or None if unknown."""
    return _read_kib("/proc/self/status", "VmRSS")


def peak_rss_bytes() -> int | None:
    """Return the largest resident memory of this process so far, or None if unknown."""
    # VmHWM is reset for each program; ru_maxrss can be inherited from the parent.
    peak = _read_kib("/proc/self/status", "VmHWM")
    if peak is not None or sys.platform == "win32":
        return peak
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage if sys.platform == "darwin" else usage * 1024


def available_bytes() -> int | None:
    """Return the memory that new processes can use without swapping (Linux), or None."""
    return _read_kib("/proc/meminfo", "MemAvailable")


def trim_heap() -> None:
    """Return freed memory to the system; glibc would keep it for this process."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def _read_kib(path: str, key: str) -> int | None:
    """Return the value of `key: N kB` in a file of /proc, in bytes."""
    try:
        with open(path, encoding="ascii") as stream:
            for line in stream:
                if line.startswith(f"{key}:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None

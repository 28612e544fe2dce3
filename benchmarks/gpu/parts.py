"""The parts of the GPU check, in order of value, with the seconds that each may take."""

from __future__ import annotations

from dataclasses import dataclass

BUDGET = 350.0  # s for one call with all standard parts, less than six minutes
DRY_LIMIT = 300.0  # s for a part of a dry run, on any machine


@dataclass(frozen=True)
class Part:
    """One part: a function `run(place, record)` of module gpu.NAME, and its time limit in seconds.

    A part that is not `standard` runs only if it is named. A `spare` part runs if the budget
    leaves time for it; that it did not run is not a failure.
    """

    limit: float
    standard: bool = True
    spare: bool = False


PARTS = {
    "exactness": Part(55),
    "bandwidth": Part(40),
    "network": Part(65),
    "pieces": Part(30),
    "sanitizer": Part(45),
    "camera": Part(32),
    "counters": Part(25),
    "compiled": Part(58),
    "gpu_tests": Part(60, spare=True),
    "onnxruntime_cuda": Part(200, standard=False),
    "rtx": Part(150, standard=False),
}
STANDARD = tuple(name for name, part in PARTS.items() if part.standard)

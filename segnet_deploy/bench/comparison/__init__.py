"""Compare networks: each in a process of its own, in interleaved rounds.

comparing  the whole: open, rounds, extras, verdicts
worker     the child process of one network; process: the parent's side of it
crew       the workers that are open, within the machine's memory
document   the JSON, saved after each step, resumed by a second call
weigh      work and index memory of a file
claims     the paper's claims against the figures
table      the comparison as text
"""

from __future__ import annotations

from segnet_deploy.bench.comparison.run_comparison import Extras, Settings, compare, files_of_folder

__all__ = ["Extras", "Settings", "compare", "files_of_folder"]

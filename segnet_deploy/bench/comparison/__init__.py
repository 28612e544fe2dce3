"""Compare networks: each in a separate process, in interleaved rounds.

run_comparison  `compare`: the whole sequence
session         its steps: open, rounds, extras
settings        how networks are measured
network_files   which files are compared
process_pool    the child processes, within the machine's memory
network_worker  what the child process of one network does
document        comparison.json, saved after each step and resumed by a second call
claims          the SegNet paper's claims, judged by the comparison; decisions: when they hold
table           the comparison as text
"""

from __future__ import annotations

from segnet_deploy.bench.comparison.network_files import find_network_files
from segnet_deploy.bench.comparison.run_comparison import compare
from segnet_deploy.bench.comparison.settings import ComparisonExtras, ComparisonSettings

__all__ = ["ComparisonExtras", "ComparisonSettings", "compare", "find_network_files"]

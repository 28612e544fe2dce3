"""Start a module of the harness as a child process (segnet_deploy.system.child_process)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from segnet_deploy.system.child_process import ChildProcess

BENCHMARKS = Path(__file__).parents[1]


def ask_child(module: str, task: str, **arguments: Any) -> Any:
    """Run one task of `module`, such as harness.peak_memory, in a fresh process.

    Raises EngineError: the task's error, or ChildDiedError if the process ended before it
    answered.
    """
    paths = [str(BENCHMARKS), *filter(None, [os.environ.get("PYTHONPATH")])]
    with ChildProcess(module, environment={"PYTHONPATH": os.pathsep.join(paths)}) as child:
        return child.ask(task, **arguments)

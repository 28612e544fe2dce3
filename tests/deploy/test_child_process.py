"""Child processes: answers, progress, errors, crashes and time limits."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from segnet_deploy.errors import EngineError
from segnet_deploy.system.child_process import ChildProcess

CHILD = """
import os, signal, sys, time
from segnet_deploy.errors import InputError
from segnet_deploy.system.child_process import report, serve

def add(a, b):
    print("a library's noise")
    report("adding", 1, 2)
    return {"sum": a + b, "variable": os.environ.get("CHILD_TEST")}

def refuse():
    raise InputError("no such file: x")

def crash():
    print("bad thing", file=sys.stderr)
    os.kill(os.getpid(), signal.SIGSEGV)

def hang():
    time.sleep(60)

def run_out():
    raise MemoryError

def surprise():
    raise KeyError("k")

if __name__ == "__main__":
    sys.exit(serve({f.__name__: f for f in (add, refuse, crash, hang, run_out, surprise)}))
"""


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ChildProcess:
    (tmp_path / "a_child.py").write_text(CHILD)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    return ChildProcess("a_child", environment={"PYTHONPATH": path, "CHILD_TEST": "set"})


def test_child_answers_and_reports_progress(child: ChildProcess) -> None:
    seen: list[tuple[object, ...]] = []
    with child:
        answer = child.ask("add", a=1, b=2, progress=lambda *report: seen.append(report))
        assert answer == {"sum": 3, "variable": "set"}
        assert child.ask("add", a=3, b=4)["sum"] == 7
    assert seen == [("adding", 1, 2)]
    assert "a library's noise" not in str(answer)


def test_child_goes_on_after_an_error(child: ChildProcess) -> None:
    with child:
        with pytest.raises(EngineError, match="no such file: x"):
            child.ask("refuse")
        with pytest.raises(EngineError, match="out of memory"):
            child.ask("run_out")
        assert child.ask("add", a=1, b=1)["sum"] == 2


def test_death_of_a_child_names_signal_and_last_line(child: ChildProcess) -> None:
    with child:
        with pytest.raises(EngineError, match=f"by signal {signal.SIGSEGV.value}: .*bad thing"):
            child.ask("crash")
        with pytest.raises(EngineError, match="ended"):
            child.ask("add", a=1, b=1)


def test_unexpected_exception_ends_the_child_with_its_reason(child: ChildProcess) -> None:
    with child, pytest.raises(EngineError, match="with status 1: KeyError: 'k'"):
        child.ask("surprise")


def test_child_that_takes_too_long_is_ended(child: ChildProcess) -> None:
    with child, pytest.raises(EngineError, match="it took over 1 s"):
        child.ask("hang", timeout=1.0)


def test_closed_child_ends_by_itself(child: ChildProcess) -> None:
    assert child.ask("add", a=1, b=1)["sum"] == 2
    child.close()
    assert child._process.returncode == 0

"""Random calls of the native libraries with sanitizers; `make sanitize` runs 20000."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sanitize

pytestmark = pytest.mark.skipif(
    not sanitize.runtimes(), reason="no GCC with libasan and libubsan on Linux"
)
PROGRAM = Path(sanitize.__file__)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.needs("ort-ops")
def test_random_calls_stay_inside_their_buffers() -> None:
    done = run("--cases", "200")
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.endswith("200 cases: ok\n")


def test_a_write_beyond_a_buffer_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A label map that always computes whole blocks of pixels."""
    sources = [sanitize.ROOT / source for source in sanitize.SOURCES["cpu"]]
    text, guard = sources[1].read_text(), "std::min(kBlock, size - start)"
    assert guard in text
    wrong = tmp_path / "label_map.cpp"
    wrong.write_text(text.replace(guard, "kBlock"))
    monkeypatch.setitem(sanitize.SOURCES, "cpu", [str(sources[0]), str(wrong)])
    failure = sanitize.find_failure(20, 0)
    assert "label_map: exit status" in failure
    assert "AddressSanitizer: heap-buffer-overflow" in capfd.readouterr().err

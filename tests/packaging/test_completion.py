"""segnet-completion: every option of every command, in every shell."""

from __future__ import annotations

import argparse
import importlib
import shutil
import subprocess
from pathlib import Path

import pytest
from console_commands import COMMANDS

from segnet_deploy.cli import completion

pytest.importorskip("shtab")
SHELLS = tuple(completion.FILE_NAMES)


@pytest.fixture(autouse=True)
def every_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the commands from the project: an earlier installation may have fewer."""
    monkeypatch.setattr(completion, "installed_commands", lambda: COMMANDS)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("command", COMMANDS)
def test_completion_has_every_option(command: str, shell: str) -> None:
    script = completion.complete(COMMANDS[command], shell)
    parser = importlib.import_module(COMMANDS[command]).build_parser()
    shown = [action for action in parser._actions if action.help != argparse.SUPPRESS]
    names = [name for action in shown for name in action.option_strings]
    dashes = "-l {}" if shell == "fish" else "--{}"
    long = [dashes.format(name[2:]) for name in names if name.startswith("--")]
    assert command in script
    assert len(long) >= 5
    assert [name for name in long if name not in script] == []


@pytest.mark.parametrize("shell", SHELLS)
def test_shell_reads_the_completions_of_all_commands(
    shell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert completion.main([shell]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in COMMANDS)
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not on this machine")
    done = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["segnet-predict", "--runt"], ["--runtime"]),
        (["segnet-predict", "--fit", ""], ["stretch", "letterbox"]),
        (["segnet-predict", "--engine", "net"], ["net.onnx"]),
        (["segnet-completion", "f"], ["fish"]),
    ],
)
def test_bash_completes_options_choices_and_files(
    words: list[str], expected: list[str], tmp_path: Path
) -> None:
    (tmp_path / "net.onnx").touch()
    name = words[0]
    program = (
        f"{completion.complete(COMMANDS[name], 'bash')}\n"
        f'COMP_WORDS=("$@"); COMP_CWORD={len(words) - 1}; _shtab_{name.replace("-", "_")}\n'
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", program, "bash", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == expected


def test_files_have_the_names_that_a_shell_loads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert completion.main(["zsh", "-o", str(tmp_path / "zfunc")]) == 0
    assert {path.name for path in (tmp_path / "zfunc").iterdir()} == {f"_{n}" for n in COMMANDS}
    assert f"completions of {len(COMMANDS)} commands for zsh" in capsys.readouterr().out


def test_file_in_place_of_the_folder_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert completion.main(["bash", "-o", str(tmp_path / "file")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1

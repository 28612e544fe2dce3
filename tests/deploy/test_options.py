"""The same option has the same name, default, text and place in every command."""

from __future__ import annotations

import argparse
import importlib
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from console_commands import COMMANDS

from segnet_deploy.cli.command import BROKEN_PIPE
from segnet_deploy.cli.options import read_sources
from segnet_deploy.cli.parser import GENERAL, GROUPS, Parser

# (option, aspect) that differs between commands, and why.
DIFFERENCES = {
    ("--runtime", "choices"): "segnet-tune tries several and cannot try auto",
    ("--runtime", "default"): "segnet-tune tries all",
    ("--runtime", "help"): "segnet-tune repeats it",
    ("--threads", "help"): "segnet-batch divides the CPUs by its workers",
    ("--engine", "help"): "segnet-bench compares several",
    ("--source", "help"): "each command reads other kinds",
    ("--source", "nargs"): "a camera is one source",
    ("-o", "help"): "each command writes something else",
    ("-o", "metavar"): "segnet-export and segnet-build write a file, the others a folder",
    ("--precision", "default"): "segnet-build keeps the file's own",
    ("--precision", "help"): "as its default",
    ("--form", "choices"): "TensorRT cannot read the standard form",
    ("--form", "default"): "segnet-build chooses the installed one",
    ("--form", "help"): "as its choices",
    ("--duration", "group"): "a camera measures nothing",
    ("--image", "metavar"): "segnet-export checks on several",
    ("--image", "default"): "as its metavar",
    ("--image", "help"): "as its metavar",
    ("--max-drop", "default"): "segnet-export quantises all layers unless it is given",
    ("--max-drop", "help"): "as its default",
    ("--min-agreement", "help"): "segnet-tune judges on labels too",
}
ASPECTS = ("metavar", "default", "nargs", "type", "choices", "help", "group")
PARSERS: dict[str, Parser] = {
    name: importlib.import_module(module).build_parser() for name, module in COMMANDS.items()
}


def options(parser: Parser) -> dict[str, dict[str, Any]]:
    """Return what is shown of each option, by its first name, in order of the help."""
    found = {}
    for group in parser._action_groups:
        for action in group._group_actions:
            if action.option_strings:
                shown = {aspect: getattr(action, aspect, group.title) for aspect in ASPECTS}
                found[action.option_strings[0]] = shown
    return found


def test_every_console_command_is_compared() -> None:
    assert len(PARSERS) >= 10
    assert all(isinstance(parser, Parser) for parser in PARSERS.values())


def test_option_is_the_same_in_every_command() -> None:
    tables = [options(parser) for parser in PARSERS.values()]
    differing = set()
    for one, other in itertools.combinations(tables, 2):
        for name in one.keys() & other.keys():
            differing |= {(name, a) for a in ASPECTS if one[name][a] != other[name][a]}
    assert differing - DIFFERENCES.keys() == set()
    assert DIFFERENCES.keys() - differing == set(), "no longer needed"


def test_options_have_one_order() -> None:
    before = set()
    for parser in PARSERS.values():
        before |= set(itertools.combinations(options(parser), 2))
    assert {pair for pair in before if pair[::-1] in before} == set()


def test_groups_have_one_order() -> None:
    for name, parser in PARSERS.items():
        titles = [g.title for g in parser._action_groups if g._group_actions]
        shared = [title for title in titles if title in GROUPS]
        assert shared == [title for title in GROUPS if title in titles], name
        assert titles[-1] == GENERAL, name


@pytest.mark.parametrize("name", PARSERS)
def test_options_say_what_they_are(name: str) -> None:
    for action in PARSERS[name]._actions:
        what = f"{name} {'/'.join(action.option_strings) or action.dest}"
        assert action.help, what
        if action.nargs == 0 or not action.option_strings:
            continue
        assert action.metavar or action.choices or action.type is None, what
        if action.default not in (None, []) and not action.required:
            assert "default" in action.help, what


@pytest.mark.parametrize("name", PARSERS)
def test_help_states_exit_statuses(name: str) -> None:
    text = " ".join(PARSERS[name].format_help().split())
    assert re.search(r"exit status: 0 [^,].*, 1 .*, 2 wrong usage", text)


@pytest.mark.parametrize("name", PARSERS)
def test_general_options_are_everywhere(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    general = [key for key, row in options(PARSERS[name]).items() if row["group"] == GENERAL]
    assert general[:5] == ["-h", "--version", "-v", "-q", "--debug"]
    with pytest.raises(SystemExit) as stop:
        PARSERS[name].parse_args(["--version"])
    assert stop.value.code == 0
    assert re.fullmatch(rf"{name} \d+\.\d+.*\n", capsys.readouterr().out)


def refusal(name: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line with which a command refuses `words`."""
    with pytest.raises(SystemExit) as stop:
        PARSERS[name].parse_args(words)
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert f"{name} --help" in err
    return err


@pytest.mark.parametrize(
    ("name", "words", "answer"),
    [
        ("segnet-predict", "--engin m.onnx a.png -o out", "did you mean --engine?"),
        ("segnet-export", "m.pt --num_classes 11", "did you mean --num-classes?"),
        ("segnet-bench", "--engine m.onnx --thread 2", "did you mean --threads?"),
        ("segnet-doctor", "--xyzzy", "unknown option --xyzzy;"),
        ("segnet-bench", "-m m.xml -d CPU -niter 10 -t 5", "-m is --engine FILE here; -d is"),
        ("segnet-bench", "-m m.xml -niter 10", "-niter is --runs N here"),
        ("segnet-bench", "--loadEngine=m.trt --warmUp=500", "--loadEngine is --engine FILE here"),
        ("segnet-bench", "--loadEngine=m.trt --warmUp=500", "it ends when the times are stable"),
        ("segnet-build", "--onnx=m.onnx --saveEngine=m.trt", "--saveEngine is -o FILE here"),
        ("segnet-build", "m.onnx --fp16", "--fp16 is --precision fp16 here"),
        ("segnet-build", "m.onnx --minShapes=x:1x3x8x8", "--size-range MIN OPT MAX here"),
        ("segnet-predict", "--weights m.onnx --half", "segnet-export --precision"),
        (
            "segnet-predict",
            "model=m.onnx source=a.png",
            "FILE here; source= is --source here",
        ),
        ("segnet-export", "m.pt --imgs 8 8", "did you mean --imgsz?"),
        ("segnet-camera", "--network=m --headless", "no window is shown without --show"),
    ],
)
def test_unknown_option_names_ours(
    name: str, words: str, answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer in refusal(name, words.split(), capsys)


def test_usage_errors_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "required: -o/--output" in refusal("segnet-triton", ["m.onnx"], capsys)
    assert "--fps: invalid float" in refusal("segnet-camera", ["--fps", "x"], capsys)
    assert "--form: invalid choice" in refusal("segnet-export", ["--form", "x"], capsys)


def test_values_that_look_like_options_are_values() -> None:
    arguments = PARSERS["segnet-export"].parse_args(
        ["m.pt", "--mean", "-1", "-.5", "-20", "-om.onnx"]
    )
    assert (arguments.mean, arguments.output) == ([-1, -0.5, -20], "m.onnx")
    arguments = PARSERS["segnet-bench"].parse_args(["--engine", "m.onnx", "--json", "-", "-v"])
    assert (arguments.json, arguments.verbose) == ("-", True)


@pytest.mark.parametrize("words", ["360 480", "360x480", "360X480"])
def test_size_has_several_spellings(words: str) -> None:
    for given in (["--imgsz", *words.split()], [f"--imgsz={words.replace(' ', 'x')}"]):
        arguments = PARSERS["segnet-export"].parse_args([*given, "m.pt"])
        assert (arguments.imgsz, arguments.model) == ([360, 480], "m.pt")


@pytest.mark.parametrize("name", ["segnet-predict", "segnet-batch", "segnet-camera"])
def test_source_is_accepted_with_and_without_its_name(name: str) -> None:
    for words in (["a.png"], ["--source", "a.png"]):
        output = [] if name == "segnet-camera" else ["-o", "out"]
        arguments = PARSERS[name].parse_args(["--engine", "m.onnx", *output, *words])
        assert read_sources(arguments, "x") == ["a.png"]


def test_one_number_is_a_square() -> None:
    for words in (["--imgsz", "64", "m.pt"], ["m.pt", "--imgsz=64"], ["m.pt", "--imgsz", "64"]):
        assert PARSERS["segnet-export"].parse_args(words).imgsz == [64, 64]


def test_earlier_names_are_accepted_and_not_shown() -> None:
    parser = PARSERS["segnet-batch"]
    words = ["--engine", "m.onnx", "--input", "a", "b", "--threads-per-worker=3", "-o", "out"]
    arguments = parser.parse_args(words)
    assert (arguments.source, arguments.threads) == (["a", "b"], 3)
    assert "--input" not in parser.format_help()


def test_benchmark_parsers_share_the_groups() -> None:
    from segnet_deploy.cli.options import add_labelled_data
    from segnet_deploy.cli.parser import add_general_options

    parser = argparse.ArgumentParser()
    add_general_options(parser)
    add_labelled_data(parser)
    titles = [group.title for group in parser._action_groups if group._group_actions]
    assert titles[-2:] == ["labelled frames", GENERAL]


def test_reader_that_ends_is_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "segnet_deploy.cli.doctor"],
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (BROKEN_PIPE, b"")


def test_no_command_writes_colours() -> None:
    """So NO_COLOR holds; argparse colours its help from Python 3.14 on and follows NO_COLOR."""
    root = Path(__file__).parents[2]
    sources = [*root.glob("segnet_deploy/**/*.py"), *root.glob("export/**/*.py")]
    escapes = re.compile(r"\\(033|x1b|u001b|N\{ESCAPE\})\[", re.IGNORECASE)
    assert [path for path in sources if escapes.search(path.read_text("utf-8"))] == []


def test_help_has_no_colours_if_not_wanted() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "segnet_deploy.cli.doctor", "--help"],
        env={"NO_COLOR": "1", "PATH": "", "FORCE_COLOR": "1"},
        capture_output=True,
        check=True,
    )
    assert b"\x1b" not in done.stdout

"""README and docs: links, navigation, code blocks and the reference from the code."""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from doc_blocks import LANGUAGES, ROOT, Block, blocks, fill_folder, names, pages, segnet_commands

DOCS = ROOT / "docs"
LINK = re.compile(r"(?<!`)!?\[(?:[^\]\\]|\\.)*\]\(([^)\s]+)\)")
# `make docs-check` runs them: a comparison starts processes, an export has its gate.
SLOW = {"docs/how-to/report.md", "docs/how-to/export.md"}


@functools.cache
def extension(name: str) -> ModuleType:
    """Return a module of the site's extension that needs no Sphinx."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"extension/{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MyST make them."""
    text = re.sub(r"(?ms)^```.*?^```", "", page.read_text())
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize(
    "page",
    [*pages(), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = re.sub(r"(?ms)^( *)```.*?^\1```$|`[^`\n]*`", "", page.read_text())
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{target} of {page.name}"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{target} of {page.name}: {sorted(anchors(file))}"


def test_every_page_is_in_the_navigation() -> None:
    for page in DOCS.glob("*/**/*.md"):
        index = page.parent / "index.md"
        if page.name in ("index.md", "README.md") and page.parent.parent == DOCS:
            continue
        while not index.exists():  # a folder of a recipe is listed by the folder above it
            index = index.parent.parent / "index.md"
        name = page.relative_to(index.parent).with_suffix("").as_posix()
        listed = index.read_text().splitlines()
        assert name in listed, f"add {name} to the list of {index.relative_to(ROOT)}"


def test_blocks_name_their_language() -> None:
    wrong = {str(block): block.language for block in blocks() if block.language not in LANGUAGES}
    assert not wrong, f"expected one of {sorted(LANGUAGES)}"


@pytest.mark.parametrize("block", blocks("console"), ids=str)
def test_commands_of_the_pages_are_understood(
    block: Block, capsys: pytest.CaptureFixture[str]
) -> None:
    parser_of = extension("command_reference").parser_of
    assert block.commands, "a session's commands start with `$ `; other texts are ```text"
    for words in segnet_commands(block):
        arguments = words[1 : words.index("--")] if "--" in words else words[1:]
        with contextlib.suppress(SystemExit):
            parser_of(words[0]).parse_args(arguments)
        assert "error:" not in capsys.readouterr().err, words


@pytest.fixture(scope="module")
def filled(
    small_model: Path, sampled_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    fill_folder(folder, small_model)
    shutil.copy(sampled_model, folder / "bayesian.onnx")
    return folder


@pytest.fixture
def folder(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a copy of the folder, since blocks write into it."""
    copy = shutil.copytree(filled, tmp_path / "pages", symlinks=True)
    monkeypatch.chdir(copy)
    return copy


PYTHON_PAGES = [
    page
    for page in dict.fromkeys(block.path for block in blocks("python") if not block.needs)
    if str(page.relative_to(ROOT)) not in SLOW
]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("page", PYTHON_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_of_a_page_runs_in_order(page: Path) -> None:
    namespace = names()
    for block in blocks("python"):
        if block.path == page and not block.needs:
            exec(compile(block.text, str(block), "exec"), namespace)


def test_error_messages_of_troubleshooting_are_those_of_the_code() -> None:
    page = (DOCS / "reference/troubleshooting.md").read_text()
    messages = re.findall(r"^\| `(.+?)` \|", page, re.M)
    assert len(messages) > 50
    texts = code_texts()
    for message in messages:
        pattern = ".*".join(re.escape(part) for part in message.split("…"))
        assert re.search(pattern, texts), f"no message of the code is like: {message}"


def code_texts() -> str:
    """Return the texts of the code, a line each, … for what is filled in."""
    lines = []
    for package in ("segnet_deploy", "export/segnet_export"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    lines.append(" ".join(node.value.split()))
                if isinstance(node, ast.JoinedStr):
                    parts = (getattr(value, "value", "…") for value in node.values)
                    lines.append("".join(p if isinstance(p, str) else "…" for p in parts))
    return "\n".join(lines)


def test_command_reference_has_every_option() -> None:
    reference = extension("command_reference")
    listed = (DOCS / "reference/commands.md").read_text()
    for command in reference.commands():
        assert f"```{{command}} {command}\n" in listed
        page = reference.command_page(command)
        for action in reference.parser_of(command)._actions:
            assert all(
                f"`{option}" in page or f", {option}" in page for option in action.option_strings
            )


def test_python_reference_has_every_name() -> None:
    import segnet_deploy
    import segnet_export

    for package in (segnet_deploy, segnet_export):
        page = extension("python_names").names_page(package.__name__)
        found = re.findall(rf"^\.\. auto\w+:: {package.__name__}\.(\w+)$", page, re.M)
        assert sorted(found) == sorted(name for name in package.__all__ if name != "__version__")


def test_result_pages_show_every_file() -> None:
    results = extension("result_pages")
    folder = ROOT / "benchmarks/results"
    shown = "".join(results.results_page(group, folder) for group in (*results.GROUPS, "other"))
    for path in folder.glob("*.json"):
        assert path.name in shown
        assert path.name in results.results_page("list", folder)


def test_result_of_an_unknown_kind_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "new-amd-zen5-8cpu-2027-01-02.json"
    path.write_text(
        '{"what": "seconds", "machine": {"processor": "AMD", "cpus": 8}, "frames": 3,'
        ' "rows": {"a": {"median": 0.5, "iou": 0.25}, "b|c": {"median": 2.0, "iou": null}}}'
    )
    text = extension("result_pages").result_part(path)
    assert text.startswith("## New on AMD Zen 5 with 8 cores, 2027-01-02")
    assert "Settings: frames 3." in text
    assert "| a | 500 ms | 25.00 % |" in text
    assert r"| b\|c | 2.00 s |  |" in text
    assert text.count('<rect class="here"') == 2


@pytest.mark.parametrize("text", ["{}", '{"rows": []}', '{"parts": {"a": {"status": "failed"}}}'])
def test_result_with_little_in_it_is_shown(text: str, tmp_path: Path) -> None:
    path = tmp_path / "gpu-2027-01-02.json"
    path.write_text(text)
    assert path.name in extension("result_pages").result_part(path)


@pytest.mark.parametrize("name", ["unpooling", "lowered"])
def test_drawing_is_what_the_program_draws(name: str) -> None:
    drawn = (DOCS / f"pictures/{name}.svg").read_text()
    assert drawn == extension("draw_unpooling").DRAWINGS[name]()


@pytest.mark.needs("sphinx")
def test_site_builds_without_warnings(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*build, "-d", str(tmp_path / "cache"), str(DOCS), str(tmp_path / "site")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for page in (tmp_path / "site").rglob("*.html"):
        loaded = re.findall(
            r'<(?:script|link|img|iframe)[^>]*(?:src|href)="(\w+:)?//', page.read_text()
        )
        assert not loaded, f"{page.name} loads something from another host"

"""Open every page of the built site in a browser, and run the blocks of code of README and docs.

    python tests/programs/check_docs.py [--site out/docs] [--only PAGE ...]

Blocks whose first line is `# needs ...` are counted and not run. Each page runs in a folder of its
own, its commands in order and then its Python, with the demo's SegNet. A command that several
pages have runs once. Minutes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "support"))

from browser import Browser, find  # noqa: E402 - needs the path above
from doc_blocks import Block, blocks, fill_folder  # noqa: E402

SIZE = (180, 240)
# Blocks of Python get the names that they use without defining them.
START = """
import sys
sys.path.insert(0, {support!r})
from doc_blocks import names
namespace = names()
for name, text in {texts!r}.items():
    exec(compile(text, name, "exec"), namespace)
"""


def make_model(folder: Path) -> Path:
    """Write model.pt, the demo's checkpoint, and export it; return the file of 180x240."""
    import torch

    from segnet_export import export, load_checkpoint

    shutil.copy(ROOT / "benchmarks/demo/segnet_demo.pt", folder / "model.pt")
    export(
        load_checkpoint(folder / "model.pt").model,
        torch.zeros(1, 3, *SIZE),
        folder / "exported.onnx",
        mean=(110.0, 110.0, 110.0),
        std=(60.0, 60.0, 60.0),
        classes="camvid",
        runtimes=["onnxruntime"],
    )
    return folder / "exported.onnx"


def run(call: list[str], folder: Path) -> str | None:
    """Run a program in `folder`; return what went wrong, or None."""
    paths = (str(Path(sys.executable).parent), os.environ["PATH"])
    environment = os.environ | {
        "PATH": os.pathsep.join(paths),
        "SEGNET_AUTO": "order",
        "OMP_NUM_THREADS": "2",
    }
    try:
        done = subprocess.run(
            call, cwd=folder, env=environment, capture_output=True, text=True, timeout=600
        )
    except subprocess.TimeoutExpired:
        return "over 600 s"
    return f"status {done.returncode}\n{done.stderr[-800:]}" if done.returncode else None


def calls_of(page: list[Block]) -> list[tuple[str, list[str]]]:
    """Return the programs that run a page, each with its name: commands, then all its Python."""
    calls = [
        (f"{block} {command[:60]}", ["bash", "-c", command])
        for block in page
        for command in block.commands
        if block.language == "console"
    ]
    texts = {str(block): block.text for block in page if block.language == "python"}
    if texts:
        text = START.format(support=str(HERE.parent / "support"), texts=texts)
        calls.append((f"{next(iter(texts))} python", [sys.executable, "-c", text]))
    return calls


def run_blocks(only: list[str]) -> list[str]:
    """Run every block that needs nothing; print each, and return the failures."""
    failures, ran, done = [], 0, list[list[str]]()
    found = blocks("console", "python")
    with tempfile.TemporaryDirectory() as temporary:
        base = Path(temporary) / "base"
        base.mkdir()
        fill_folder(base, make_model(base), SIZE)
        for page in dict.fromkeys(block.path for block in found):
            if only and not any(text in str(page.relative_to(ROOT)) for text in only):
                continue
            folder = shutil.copytree(base, Path(temporary) / "page", symlinks=True)
            for name, call in calls_of([b for b in found if b.path == page and not b.needs]):
                if call in done:  # the folder has its results, or files of the same names
                    continue
                start, ran = time.monotonic(), ran + 1
                done.append(call)
                problem = run(call, folder)
                failures += [f"{name}: {problem}"] if problem else []
                state = "FAILED" if problem else "ok"
                print(f"{state:7}{time.monotonic() - start:6.1f} s  {name}", flush=True)
                if problem:
                    print(problem, flush=True)
            shutil.rmtree(folder)
    marked = sum(bool(block.needs) for block in found)
    print(f"{ran} programs run, {len(failures)} failed; {marked} blocks are marked and not run")
    return failures


def open_pages(site: Path) -> list[str]:
    """Open every page in a browser; return requests to other hosts, errors and wide pages."""
    problems = []
    files = sorted(site.rglob("*.html"))
    window = Browser()
    for page in files:
        for width in (1280, 390):
            window.resize(width, 844, width < 500)
            window.open(page.as_uri())
            away = [url for url in window.requests if not url.startswith(("file:", "data:"))]
            problems += [f"{page.name}: requests {url}" for url in away]
            problems += [f"{page.name}: {text}" for text in window.complaints]
            wide = window.evaluate("document.documentElement.scrollWidth")
            if wide > width:
                problems.append(f"{page.name}: {wide} px wide in a window of {width}")
    window.close()
    print(f"{len(files)} pages opened at two widths: {len(problems)} problems")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description="check the site and the blocks of the docs")
    parser.add_argument("--site", type=Path, help="built pages to open in a browser")
    parser.add_argument("--only", nargs="+", default=[], help="parts of the names of pages")
    arguments = parser.parse_args()
    problems = []
    if arguments.site and find():
        problems = open_pages(arguments.site)
    elif arguments.site:
        print("no Chromium on PATH: the pages were not opened (Debian: chromium)")
    problems += run_blocks(arguments.only)
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())

"""The site's directives: `command`, `python-names`, `results` and `plot`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from extension.command_reference import command_page
from extension.python_names import names_page
from extension.result_pages import plot_part, results_page

ROOT = Path(__file__).parents[2]


class _Generated(SphinxDirective):
    """A part of a page that is written as Markdown when the site is built."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        source = [self.text(self.arguments[0])]
        link_to_files(self.env.app, self.env.docname, source)
        return self.parse_text_to_nodes(source[0], allow_section_headings=True)

    def text(self, name: str) -> str:
        raise NotImplementedError


class CommandReference(_Generated):
    """The usage and the options of a command."""

    def text(self, name: str) -> str:
        return command_page(name)


class PythonNames(_Generated):
    """The public names of a package, in groups."""

    def text(self, name: str) -> str:
        return names_page(name)


class Results(_Generated):
    """Tables and plots of the files of benchmarks/results whose question is the argument."""

    def text(self, name: str) -> str:
        for path in sorted((ROOT / "benchmarks/results").glob("*.json")):
            self.env.note_dependency(str(path))
        return results_page(name, ROOT / "benchmarks/results")


class Plot(SphinxDirective):
    """One plot of the newest file of a kind: `paper time`, `precision timing`."""

    required_arguments, optional_arguments = 2, 0

    def run(self) -> list[nodes.Node]:
        plot = plot_part(*self.arguments, ROOT / "benchmarks/results")
        return self.parse_text_to_nodes(plot)


def link_to_files(app: Sphinx, page: str, source: list[str]) -> None:
    """Turn links to files outside of docs/ into downloads: the site contains these files."""
    above = "../" * (page.count("/") + 1)
    pattern = rf"(?<!!)(\[[^\]]*\]\()({re.escape(above)}(?!\.\.)[^)#\s]+)(#[^)]*)?\)"
    source[0] = re.sub(pattern, r"\1path:\2)", source[0])


def show_examples(
    app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]
) -> None:
    """Let an indented part of a docstring be code, and leave a plain value's docstring out."""
    if what == "data" and isinstance(value, dict | tuple):
        lines.clear()
        return
    text = re.sub(r"(?m)(^(?=\S).*\S)\n\n(?= {4}\S)", r"\1\n\n::\n\n", "\n".join(lines))
    lines[:] = text.split("\n")


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directives and the links to files of the repository."""
    app.add_directive("command", CommandReference)
    app.add_directive("python-names", PythonNames)
    app.add_directive("results", Results)
    app.add_directive("plot", Plot)
    app.connect("autodoc-process-docstring", show_examples)
    app.connect("source-read", link_to_files)
    return {"parallel_read_safe": True}

"""The site's directives: `command`, `python-names` and `results`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from extension.command_reference import command_page
from extension.python_names import names_page
from extension.result_pages import results_page

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


def link_to_files(app: Sphinx, page: str, source: list[str]) -> None:
    """Turn links to files outside of docs/ into downloads: the site contains these files."""
    above = "../" * (page.count("/") + 1)
    pattern = rf"(?<!!)(\[[^\]]*\]\()({re.escape(above)}(?!\.\.)[^)#\s]+)(#[^)]*)?\)"
    source[0] = re.sub(pattern, r"\1path:\2)", source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directives and the links to files of the repository."""
    app.add_directive("command", CommandReference)
    app.add_directive("python-names", PythonNames)
    app.add_directive("results", Results)
    app.connect("source-read", link_to_files)
    return {"parallel_read_safe": True}

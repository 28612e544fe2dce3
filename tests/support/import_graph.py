"""Which module imports which, read from the source: imports inside functions count as well."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

Graph = dict[str, set[str]]
"""Imported modules by importing module, all of one source tree."""


def import_graph(root: Path, *packages: str) -> Graph:
    """Return the imports among the modules of `packages`, whose folders are below `root`.

    Imports for type checkers alone (`if TYPE_CHECKING:`) do not count.
    """
    files: dict[str, Path] = {}
    for package in packages:
        for file in sorted((root / package).rglob("*.py")):
            name = ".".join(file.relative_to(root).with_suffix("").parts)
            files[name.removesuffix(".__init__")] = file
    return {
        name: {found for found in _imported(file, set(files)) if found != name}
        for name, file in files.items()
    }


def outside_imports(file: Path) -> set[str]:
    """Return the top-level packages that a file imports."""
    return {name.partition(".")[0] for name, _ in _statements(ast.parse(file.read_text("utf-8")))}


def cycles(graph: Graph) -> list[list[str]]:
    """Return the groups of modules that import one another in a loop (Tarjan's algorithm)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in graph:
        if name not in index:
            visit(name)
    return found


def upward_imports(graph: Graph, layers: Sequence[Sequence[str]]) -> list[str]:
    """Return `importer -> imported` for each import of a higher layer.

    `layers` go from the lowest to the highest; each names packages or modules. Raises ValueError
    for a module that no layer names.
    """
    level = {part: number for number, parts in enumerate(layers) for part in parts}
    return [
        f"{name} -> {other}"
        for name, others in sorted(graph.items())
        for other in sorted(others)
        if _level(other, level) > _level(name, level)
    ]


def _level(name: str, level: Mapping[str, int]) -> int:
    part = name
    while part not in level:
        part, _, _ = part.rpartition(".")
        if not part:
            raise ValueError(f"no layer names {name}")
    return level[part]


def _imported(file: Path, known: set[str]) -> Iterator[str]:
    for module, names in _statements(ast.parse(file.read_text("utf-8"))):
        submodules = {f"{module}.{name}" for name in names} & known
        if submodules:
            yield from submodules
        if module in known and len(submodules) < max(1, len(names)):
            yield module


def _statements(tree: ast.AST) -> Iterator[tuple[str, list[str]]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from _statements(other)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, []
        else:
            yield from _statements(node)

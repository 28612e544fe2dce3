"""One figure of the report: a drawing with its texts."""

from __future__ import annotations

from dataclasses import dataclass

from segnet_deploy.bench.report.svg import Drawing


@dataclass(frozen=True)
class Figure:
    """A drawing, its title and caption, and its content in words for screen readers.

    `name` is its file name without suffix.
    """

    name: str
    title: str
    caption: str
    description: str
    drawing: Drawing

    def svg(self, standalone: bool = False) -> str:
        """Return the SVG element; `standalone` if it becomes a separate file."""
        return self.drawing.svg(self.title, self.description, standalone)

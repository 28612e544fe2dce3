"""The figure of the time of each layer."""

from __future__ import annotations

from collections.abc import Sequence

from segnet_deploy.bench.layer_profile import Layer, sum_by_operator
from segnet_deploy.bench.report.figure import Figure
from segnet_deploy.bench.report.formatting import format_seconds, network_labels
from segnet_deploy.bench.report.svg import WIDTH, Drawing, series_class, shorten
from segnet_deploy.bench.result import Comparison

MAX_OPERATORS = 6  # the rest shares one colour
OTHER = series_class(7)
ROW_HEIGHT, BAR_HEIGHT = 92.0, 58.0  # px
CAPTION = (
    "A bar for each layer as the runtime executes it, in order of execution. The times are those "
    "of profiled runs, which are slower than others."
)


def draw_layers(comparison: Comparison) -> Figure | None:
    """Draw every layer of every network as a bar, coloured by operator."""
    networks = [network for network in comparison.measured if network.layers]
    if not networks:
        return None
    operators = sum_by_operator([layer for n in networks for layer in n.layers or []])
    colours = {
        operator: series_class(index)
        for index, (operator, _, _) in enumerate(operators[:MAX_OPERATORS])
    }
    drawing, descriptions = Drawing(), []
    for index, (network, label) in enumerate(zip(networks, network_labels(networks), strict=True)):
        layers = network.layers or []
        slowest = max(layers, key=lambda layer: float(layer["seconds"]))
        total = sum(layer["seconds"] for layer in layers)
        top = index * ROW_HEIGHT
        drawing.text(0, top + 14, shorten(label, 24), "name")
        text = f"{len(layers)} layers, {format_seconds(total)}"
        drawing.text(WIDTH, top + 14, text, "small", "end")
        _draw_row(drawing, top + 82, layers, colours)
        descriptions.append(
            f"{label}: slowest {slowest['op']} {slowest['name']}, "
            f"{format_seconds(slowest['seconds'])}"
        )
    drawing.height = len(networks) * ROW_HEIGHT
    entries = [(colour, operator) for operator, colour in colours.items()]
    drawing.legend(entries + ([(OTHER, "other")] if len(operators) > len(colours) else []))
    return Figure("layers", "Time per layer", CAPTION, "; ".join(descriptions), drawing)


def _draw_row(
    drawing: Drawing, baseline: float, layers: Sequence[Layer], colours: dict[str, str]
) -> None:
    """Draw the bars of one network above y = `baseline`."""
    longest = max(layer["seconds"] for layer in layers) or 1.0
    step = WIDTH / len(layers)
    for number, layer in enumerate(layers):
        height = BAR_HEIGHT * layer["seconds"] / longest
        colour = colours.get(layer["op"], OTHER)
        drawing.rect(number * step, baseline - height, max(step * 0.8, 0.5), height, colour)
    drawing.line(0, baseline, WIDTH, baseline, "axis")

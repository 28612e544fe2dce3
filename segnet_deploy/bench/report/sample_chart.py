"""The figure of every sample, next to the median of its network."""

from __future__ import annotations

from segnet_deploy.bench.report.figure import Figure
from segnet_deploy.bench.report.formatting import format_seconds, network_labels
from segnet_deploy.bench.report.svg import WIDTH, Drawing, shorten, ticks
from segnet_deploy.bench.result import Comparison, NetworkResult

ROW_HEIGHT = 50.0  # px
GOLDEN_RATIO = 0.618  # multiples of it spread neighbouring dots evenly
CAPTION = (
    "Each dot is one timed run, by its deviation from the median of its network. The band is the "
    "95 % confidence interval of that median."
)


def draw_samples(comparison: Comparison) -> Figure | None:
    """Draw each sample as a dot by its deviation from the median, in percent."""
    networks = [network for network in comparison.measured if network.samples.get("infer")]
    if not networks:
        return None
    deviations = [_deviations(network) for network in networks]
    low = min(-1.0, min(map(min, deviations)))
    high = max(1.0, max(map(max, deviations)))
    drawing, descriptions = Drawing(), []
    bottom = len(networks) * ROW_HEIGHT + 4

    def to_x(percent: float) -> float:
        return 8 + (percent - low) / (high - low) * (WIDTH - 16)

    for tick in ticks(low, high):
        x = to_x(tick)
        drawing.line(x, 0, x, bottom, "axis" if tick == 0 else "grid")
        drawing.tick(x, bottom + 15, f"{tick:+g} %" if tick else "median")
    for index, (network, label) in enumerate(zip(networks, network_labels(networks), strict=True)):
        top = index * ROW_HEIGHT
        text = format_seconds(network.median)
        if interval := _interval(network):
            left, right = map(to_x, interval)
            drawing.rect(left, top + 21, right - left, 24, "band")
            text += f" ({interval[0]:+.1f} to {interval[1]:+.1f} %)"
        for number, value in enumerate(deviations[index]):
            drawing.dot(to_x(value), top + 24 + 18 * (number * GOLDEN_RATIO % 1), 2.6, "sample")
        drawing.text(0, top + 14, shorten(label, 27), "name")
        drawing.text(WIDTH, top + 14, text, "small", "end")
        descriptions.append(f"{label}: median {text}")
    drawing.height = bottom + 22
    return Figure("latency", "Latency distribution", CAPTION, "; ".join(descriptions), drawing)


def _deviations(network: NetworkResult) -> list[float]:
    return [100 * (sample / network.median - 1) for sample in network.samples["infer"]]


def _interval(network: NetworkResult) -> tuple[float, float] | None:
    """Return the confidence interval of the median, in percent of it."""
    statistics = network.seconds["infer"]
    if "low" not in statistics or "high" not in statistics:
        return None
    low, high = statistics["low"], statistics["high"]
    return 100 * (low / network.median - 1), 100 * (high / network.median - 1)

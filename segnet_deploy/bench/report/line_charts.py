"""Figures with axes: memory over time, and the roofline."""

from __future__ import annotations

from segnet_deploy.bench.report.axes import draw_log_axis, draw_x_axis, draw_y_axis
from segnet_deploy.bench.report.figure import Figure
from segnet_deploy.bench.report.formatting import network_labels
from segnet_deploy.bench.report.svg import Drawing, series_class
from segnet_deploy.bench.result import Comparison


def draw_memory_timeline(comparison: Comparison) -> Figure | None:
    """Draw the resident memory of each process since its start."""
    networks = [network for network in comparison.measured if network.memory_timeline]
    if not networks:
        return None
    lines = [[(t, size / 1e6) for t, size in n.memory_timeline or []] for n in networks]
    peaks = [max(megabytes for _, megabytes in line) for line in lines]
    drawing = Drawing()
    to_x = draw_x_axis(drawing, max(t for line in lines for t, _ in line), "s")
    to_y = draw_y_axis(drawing, max(peaks), "MB")
    for index, line in enumerate(lines):
        drawing.curve([(to_x(t), to_y(megabytes)) for t, megabytes in line], series_class(index))
    labels = network_labels(networks)
    drawing.legend([(series_class(index), label) for index, label in enumerate(labels)])
    pairs = zip(labels, peaks, strict=True)
    description = "; ".join(f"{label}: up to {peak:.0f} MB" for label, peak in pairs)
    caption = "Resident memory of each network's process while it loads and warms up."
    return Figure("memory-time", "Memory over time", caption, description, drawing)


def draw_roofline(comparison: Comparison) -> Figure | None:
    """Draw GMAC/s over MAC per byte, below the ceilings that this machine reaches."""
    ceilings = comparison.settings.get("ceilings")
    networks = [n for n in comparison.measured if n.gmac and n.traffic_bytes]
    if not networks or not ceilings:
        return None
    peak, bandwidth = ceilings["macs_per_second"] / 1e9, ceilings["bytes_per_second"] / 1e9
    ridge = peak / bandwidth  # MAC per byte at which both ceilings meet
    points = [
        ((n.gmac or 0) * 1e9 / (n.traffic_bytes or 1), (n.gmac or 0) / n.median) for n in networks
    ]
    intensities, rates = [ridge, *(x for x, _ in points)], [peak, *(y for _, y in points)]
    left, right = min(intensities) / 3, max(intensities) * 3
    bottom, top = min(rates) / 3, max(rates) * 2
    drawing = Drawing()
    to_x = draw_log_axis(drawing, left, right, "MAC per byte", vertical=False)
    to_y = draw_log_axis(drawing, bottom, top, "GMAC/s", vertical=True)
    corners = (max(left, bottom / bandwidth), ridge, right)
    drawing.curve([(to_x(x), to_y(min(peak, bandwidth * x))) for x in corners], "roof")
    drawing.text(to_x(right), to_y(peak) - 6, f"{peak:.0f} GMAC/s", "small", "end")
    descriptions = []
    for index, ((x, y), label) in enumerate(zip(points, network_labels(networks), strict=True)):
        drawing.dot(to_x(x), to_y(y), 6, series_class(index))
        descriptions.append(f"{label}: {y / min(peak, bandwidth * x):.0%} of its ceiling")
    drawing.legend([(series_class(index), text) for index, text in enumerate(descriptions)])
    caption = (
        f"GMAC/s over MAC per byte of the convolutions' traffic. Ceilings, measured here: "
        f"{peak:.0f} GMAC/s in numpy's matrix product and {bandwidth:.0f} GB/s in its copy. "
        "Winograd convolutions do fewer multiplications than are counted."
    )
    return Figure("roofline", "Roofline", caption, "; ".join(descriptions), drawing)

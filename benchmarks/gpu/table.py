"""The result of a check as one table: each part, its goals and their figures."""

from __future__ import annotations

from typing import Any

_MET = {True: "met", False: "MISSED", None: "not judged"}


def format_table(found: dict[str, Any]) -> str:
    """Return the table of a result file."""
    machine = found.get("machine", {})
    name = machine.get("device", {}).get("name", "unknown device")
    versions = machine.get("versions", {})
    wanted = ("torch", "numpy", "onnxruntime", "cuda.bindings")
    known = ", ".join(f"{key} {versions[key]}" for key in wanted if key in versions)
    lines = [f"{name}; {known}", ""]
    rows = [("part", "goal", "figure", "wanted", "")]
    for part, entry in found["parts"].items():
        text = entry["status"].upper() if entry["status"] != "done" else "done"
        rows.append((part, "", "", "", text))
        if entry.get("error"):
            rows[-1] = (part, str(entry["error"]).splitlines()[0][:60], "", "", text)
        for goal in entry.get("goals", []):
            at_least = goal.get("at_least")
            rows.append(
                (
                    "",
                    goal["goal"],
                    _figure(goal["value"]),
                    "" if at_least is None else f">= {at_least:g}",
                    _MET[goal["met"]],
                )
            )
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _figure(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(value)

"""The loop's state for machines: JSON, Prometheus text, health."""

from __future__ import annotations

import math
import re
from dataclasses import asdict
from typing import Any

from segnet_deploy.camera.outputs.systemd_watchdog import LONGEST_INFERENCE
from segnet_deploy.camera.result import STATES, Status

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SILENT_SECONDS = 10.0  # the loop tells its state about once a second
_COUNTERS = {
    "captured": ("frames_captured", "Frames that came from the source."),
    "shown": ("frames_shown", "Frames that were segmented and given out."),
    "dropped": ("frames_dropped", "Frames that a newer one replaced."),
    "reconnects": ("reconnects", "Times the source was opened again."),
    "errors": ("errors", "Errors of source and engine."),
    "stale": ("results_stale", "Results that were too old to show."),
    "engine_restarts": ("engine_restarts", "Times the engine was loaded again."),
}
_GAUGES = {
    "frames_per_second": ("frames_per_second", "Results per second, over the last seconds."),
    "latency": ("latency_seconds", "Time of one inference, over the last seconds."),
    "age": ("age_seconds", "Age of the newest result when it was given out."),
    "uptime": ("uptime_seconds", "Time since the loop started."),
    "inferring": ("inferring_seconds", "Time spent on the present frame so far."),
    "rss_bytes": ("resident_memory_bytes", "Resident memory of the process."),
}


def describe(status: Status) -> dict[str, Any]:
    """Return the state as JSON has it: no NaN, and no password in the source's address."""
    fields = asdict(status)
    fields["source"] = re.sub(r"//[^/\s]*@", "//", status.source)
    return {k: None if _is_nan(v) else v for k, v in fields.items()}


def health(status: Status, silent_seconds: float) -> tuple[bool, dict[str, Any]]:
    """Tell whether the loop is live, and why; `silent_seconds` have passed since it last spoke."""
    responds = silent_seconds < _SILENT_SECONDS and status.inferring < LONGEST_INFERENCE
    answer = describe(status) | {"responds": responds, "silent_seconds": round(silent_seconds, 3)}
    return responds and status.state == "live", answer


def prometheus(status: Status, version: str, web: dict[str, tuple[str, str, float]]) -> str:
    """Return the text that Prometheus reads; `web` gives further names: (type, help, value).

    Source: the text exposition format 0.0.4, prometheus.io/docs/instrumenting.
    """
    fields = describe(status)
    lines: list[str] = []

    def add(name: str, kind: str, text: str, value: float | None, labels: str = "") -> None:
        full = f"segnet_camera_{name}" + ("_total" if kind == "counter" else "")
        if not any(line == f"# TYPE {full} {kind}" for line in lines):
            lines.extend([f"# HELP {full} {text}", f"# TYPE {full} {kind}"])
        if value is not None:
            lines.append(f"{full}{labels} {float(value)!r}")

    source = _escape(str(fields["source"]))
    add("info", "gauge", "What runs.", 1, f'{{source="{source}",version="{version}"}}')
    for state in STATES:
        is_it = float(state == status.state)
        add("state", "gauge", "1 for the loop's state.", is_it, f'{{state="{state}"}}')
    for field, (name, text) in _COUNTERS.items():
        add(name, "counter", text, fields[field])
    for field, (name, text) in _GAUGES.items():
        add(name, "gauge", text, fields[field])
    for name, (kind, text, value) in web.items():
        add(name, kind, text, value)
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)

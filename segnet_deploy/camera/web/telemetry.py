"""The status for other programs: JSON, Prometheus text, health."""

from __future__ import annotations

import math
import re
from dataclasses import asdict
from typing import Any

from segnet_deploy.camera.result import STATES, Status

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_MAX_SILENCE = 10.0  # seconds; the loop reports about once per second
_COUNTERS = {
    "captured": ("frames_captured", "Frames from the source."),
    "shown": ("frames_shown", "Frames that were segmented and shown."),
    "dropped": ("frames_dropped", "Frames that were replaced by a newer one."),
    "reconnects": ("reconnects", "Times the source was reopened."),
    "errors": ("errors", "Errors of source and engine."),
    "stale": ("results_stale", "Results that were too old to show."),
    "engine_restarts": ("engine_restarts", "Times the engine was restarted."),
}
_GAUGES = {
    "frames_per_second": ("frames_per_second", "Results per second, over the last seconds."),
    "latency": ("latency_seconds", "Inference time of the newest result."),
    "age": ("age_seconds", "Age of the newest result."),
    "uptime": ("uptime_seconds", "Time since the loop started."),
    "inferring": ("inferring_seconds", "Time spent on the current frame so far."),
    "rss_bytes": ("resident_memory_bytes", "Resident memory of the process."),
}


def status_fields(status: Status) -> dict[str, Any]:
    """Return the status as a JSON object: null for NaN, no user and password in `source`."""
    fields = asdict(status)
    fields["source"] = re.sub(r"//[^/\s]*@", "//", status.source)
    return {key: None if _is_nan(value) else value for key, value in fields.items()}


def health(status: Status, silent_seconds: float) -> tuple[bool, dict[str, Any]]:
    """Return whether the loop is live, and the answer of /healthz.

    `silent_seconds` is the time since the loop's last report.
    """
    responds = silent_seconds < _MAX_SILENCE and status.engine_responds
    answer = status_fields(status) | {
        "responds": responds,
        "silent_seconds": round(silent_seconds, 3),
    }
    return responds and status.state == "live", answer


def prometheus_text(status: Status, version: str, web: dict[str, tuple[str, str, float]]) -> str:
    """Return the metrics as Prometheus text; `web` adds further ones: name to type, help, value.

    Source: the text exposition format 0.0.4, prometheus.io/docs/instrumenting.
    """
    fields = status_fields(status)
    lines: list[str] = []

    def add(name: str, kind: str, text: str, value: float | None, labels: str = "") -> None:
        full = f"segnet_camera_{name}" + ("_total" if kind == "counter" else "")
        if not any(line == f"# TYPE {full} {kind}" for line in lines):
            lines.extend([f"# HELP {full} {text}", f"# TYPE {full} {kind}"])
        if value is not None:
            lines.append(f"{full}{labels} {float(value)!r}")

    source = _escape(str(fields["source"]))
    add("info", "gauge", "Source and version.", 1, f'{{source="{source}",version="{version}"}}')
    for state in STATES:
        is_current = float(state == status.state)
        add("state", "gauge", "1 for the current state.", is_current, f'{{state="{state}"}}')
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

"""Results as text: only here and in the tables do units other than seconds and bytes appear."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from segnet_deploy.bench.result import FAILS, HOLDS, NOISE, Comparison, NetworkResult, Verdict

COLUMNS = (
    *("network", "median", "95 % interval", "p99", "peak", "added", "file", "indices"),
    *("GMAC", "GMAC/s", "energy", "backward", "training", "runtime"),
)


def format_seconds(seconds: float | None) -> str:
    """Return a time with three digits, in ms or s."""
    if seconds is None:
        return "-"
    if seconds >= 1:
        return f"{seconds:.2f} s"
    ms = seconds * 1e3
    return f"{ms:.0f} ms" if ms >= 100 else f"{ms:.1f} ms" if ms >= 10 else f"{ms:.2f} ms"


def format_bytes(size: float | None) -> str:
    """Return a size in MB of 1e6 bytes."""
    if size is None:
        return "-"
    return f"{size / 1e6:.0f} MB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def format_ratio(ratio: float | None) -> str:
    """Return a ratio, or a dash."""
    return "-" if ratio is None else f"{ratio:.2f}x"


def format_value(value: Any) -> str:
    """Return any JSON value as text; an empty one is the empty string."""
    if value is None or value == {} or value == []:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{k.replace('_', ' ')} {format_value(v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(format_value(item) for item in value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


def network_labels(networks: Sequence[NetworkResult]) -> list[str]:
    """Return a unique label for each network: the name, with runtime and form if necessary."""
    names = [network.name for network in networks]
    labels = []
    for name, network in zip(names, networks, strict=True):
        details = ", ".join(text for text in (network.runtime, network.form) if text)
        labels.append(f"{name} ({details})" if names.count(name) > 1 and details else name)
    # One file measured twice in one runtime is numbered.
    counts: dict[str, int] = {}
    for index, label in enumerate(labels):
        counts[label] = counts.get(label, 0) + 1
        if counts[label] > 1:
            labels[index] = f"{label} #{counts[label]}"
    return labels


def summary_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Return the heads and rows of the table of figures, without empty columns."""
    networks = comparison.measured
    rows = [
        [label, *_cells(network)]
        for label, network in zip(network_labels(networks), networks, strict=True)
    ]
    kept = [i for i in range(len(COLUMNS)) if i < 2 or any(row[i] != "-" for row in rows)]
    return [COLUMNS[i] for i in kept], [[row[i] for i in kept] for row in rows]


def _cells(network: NetworkResult) -> list[str]:
    statistics, gmac = network.seconds["infer"], network.gmac
    low, high = statistics.get("low"), statistics.get("high")
    joules = network.power.joules_per_frame if network.power else None
    backward = network.backward or {}
    runtime = (network.runtime, network.device, network.form)
    return [
        format_seconds(network.median),
        f"{format_seconds(low)} to {format_seconds(high)}" if low and high else "-",
        format_seconds(statistics.get("p99")),
        format_bytes(network.peak_bytes),
        format_bytes(network.added_bytes),
        format_bytes(network.model_bytes),
        format_bytes(network.index_bytes or None),
        f"{gmac:.1f}" if gmac else "-",
        f"{gmac / network.median:.0f}" if gmac else "-",
        f"{joules:.2f} J" if joules is not None else "-",
        format_seconds((backward.get("seconds") or {}).get("median")),
        format_bytes(backward.get("training_bytes")),
        ", ".join(text for text in runtime if text) or "-",
    ]


def list_conditions(comparison: Comparison) -> list[tuple[str, str]]:
    """Return the machine, settings and versions of a comparison as names and values."""
    machine = comparison.machine
    rows = [("measured", comparison.started or "not recorded")]
    rows += [
        (name, format_value(value))
        for name, value in machine.items()
        if name not in ("clocks", "power_mode")
    ]
    rows.append(("clocks", format_value(machine.get("clocks")) or "not readable on this machine"))
    gpus = dict.fromkeys(format_value(n.gpu) for n in comparison.measured if n.gpu)
    rows += [("GPU", gpu) for gpu in gpus]
    power_mode = format_value(machine.get("power_mode"))
    rows.append(("power mode", power_mode or "not readable on this machine"))
    for name, value in comparison.settings.items():
        if text := _format_setting(name, value):
            rows.append((name.replace("_", " "), text))
    versions = ", ".join(f"{name} {version}" for name, version in comparison.versions.items())
    return [*rows, ("versions", versions or "-")]


def _format_setting(name: str, value: Any) -> str:
    if name in ("size", "frame") and isinstance(value, list):
        return "x".join(map(str, value))
    if name == "ceilings" and value:
        gmacs, gigabytes = value["macs_per_second"] / 1e9, value["bytes_per_second"] / 1e9
        return f"{gmacs:.0f} GMAC/s, {gigabytes:.0f} GB/s"
    return format_value(value) or ("chosen by the runtime" if name == "threads" else "")


def list_notes(comparison: Comparison) -> list[str]:
    """Return every warning, missing figure and runtime setting, with its network."""
    networks = comparison.measured
    notes = [
        f"{network.name} was not measured: {network.error}"
        for network in comparison.networks
        if not network.is_measured
    ]
    for label, network in zip(network_labels(networks), networks, strict=True):
        if network.error:
            notes.append(f"{label} was measured incompletely: {network.error}")
        notes += [f"{label}: {warning}" for warning in network.warnings]
        if network.switches:
            notes.append(f"{label}: {format_value(network.switches)}")
    reasons = [network.power.reason for network in networks if network.power]
    unknown = dict.fromkeys(reason for reason in reasons if reason)
    return notes + [f"energy per frame is unknown: {reason}" for reason in unknown]


def count_verdicts(verdicts: Sequence[Verdict]) -> str:
    """Return how many claims hold and how many do not."""
    counts = {name: sum(v.verdict == name for v in verdicts) for name in (HOLDS, NOISE, FAILS)}
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)

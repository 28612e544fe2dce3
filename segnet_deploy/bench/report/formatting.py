"""Figures and facts in words: units appear only here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

VERDICTS = ("holds", "within noise", "does not hold")


def milliseconds(seconds: float | None) -> str:
    """Return a time with three figures, in ms or s."""
    if seconds is None:
        return "-"
    if seconds >= 1:
        return f"{seconds:.2f} s"
    ms = seconds * 1e3
    return f"{ms:.0f} ms" if ms >= 100 else f"{ms:.1f} ms" if ms >= 10 else f"{ms:.2f} ms"


def million(size: float | None) -> str:
    """Return bytes in MB of 1e6."""
    if size is None:
        return "-"
    return f"{size / 1e6:.0f} MB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def network_labels(networks: Sequence[dict[str, Any]]) -> list[str]:
    """Return a name for each network: with runtime and form where names alone are not unique."""
    names = [str(network["name"]) for network in networks]
    found = []
    for name, network in zip(names, networks, strict=True):
        more = ", ".join(str(network[k]) for k in ("runtime", "form") if network.get(k))
        found.append(f"{name} ({more})" if names.count(name) > 1 and more else name)
    # The same file twice in the same runtime: a number tells them apart.
    counts: dict[str, int] = {}
    for place, label in enumerate(found):
        counts[label] = counts.get(label, 0) + 1
        if counts[label] > 1:
            found[place] = f"{label} #{counts[label]}"
    return found


def columns(comparison: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the heads and rows of the table of figures; a column nobody fills is left out."""
    heads = ["network", "median", "95 % interval", "p99", "peak", "added", "file", "indices"]
    heads += ["GMAC", "GMAC/s", "energy", "backward", "training", "runtime"]
    networks = comparison["networks"]
    rows = [
        [label, *_cells(network)]
        for label, network in zip(network_labels(networks), networks, strict=True)
    ]
    kept = [i for i in range(len(heads)) if i < 2 or any(row[i] != "-" for row in rows)]
    return [heads[i] for i in kept], [[row[i] for i in kept] for row in rows]


def _cells(network: dict[str, Any]) -> list[str]:
    stats, gmac = network["seconds"]["infer"], network.get("gmac")
    low, high = stats.get("low"), stats.get("high")
    joules = (network.get("power") or {}).get("joules_per_frame")
    backward = network.get("backward") or {}
    parts = [network.get("runtime"), network.get("device"), network.get("form")]
    return [
        milliseconds(stats["median"]),
        f"{milliseconds(low)} to {milliseconds(high)}" if low and high else "-",
        milliseconds(stats.get("p99")),
        million(network.get("peak_bytes")),
        million(network.get("added_bytes")),
        million(network.get("model_bytes")),
        million(network.get("index_bytes") or None),
        f"{gmac:.1f}" if gmac else "-",
        f"{gmac / stats['median']:.0f}" if gmac else "-",
        f"{joules:.2f} J" if joules is not None else "-",
        milliseconds((backward.get("seconds") or {}).get("median")),
        million(backward.get("training_bytes")),
        ", ".join(str(part) for part in parts if part) or "-",
    ]


def facts(comparison: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what the comparison was measured on and how, as names and values."""
    machine, settings = comparison.get("machine", {}), comparison.get("settings", {})
    found = [("measured", str(comparison.get("started") or "not recorded"))]
    for name, value in machine.items():
        if name not in ("clocks", "power_mode"):
            found.append((name, plain(value)))
    found.append(("clocks", plain(machine.get("clocks")) or "not readable on this machine"))
    gpus = dict.fromkeys(plain(n["gpu"]) for n in comparison["networks"] if n.get("gpu"))
    found += [("GPU", gpu) for gpu in gpus]
    found.append(("power mode", plain(machine.get("power_mode")) or "none that can be read"))
    for name, value in settings.items():
        if name in ("size", "frame") and isinstance(value, list):
            value = "x".join(map(str, value))
        elif name == "ceilings" and value:
            value = (
                f"{value['macs_per_second'] / 1e9:.0f} GMAC/s, "
                f"{value['bytes_per_second'] / 1e9:.0f} GB/s"
            )
        said = plain(value) or ("the runtime's choice" if name == "threads" else "")
        if said:
            found.append((name.replace("_", " "), said))
    versions = comparison.get("versions", {})
    found.append(("versions", ", ".join(f"{n} {v}" for n, v in versions.items()) or "-"))
    return found


def cautions(comparison: dict[str, Any]) -> list[str]:
    """Return every warning and missing figure, with the network that it belongs to."""
    networks, found = comparison["networks"], []
    for network in comparison.get("failed", []):
        found.append(f"{network['name']} was not measured: {plain(network.get('error'))}")
    for label, network in zip(network_labels(networks), networks, strict=True):
        if network.get("error"):
            found.append(f"{label} was measured in part: {plain(network['error'])}")
        for warning in network.get("warnings") or []:
            said = warning if isinstance(warning, str) else ": ".join(map(plain, warning.values()))
            found.append(f"{label}: {said}")
        if switches := network.get("switches"):
            found.append(f"{label}: {plain(switches)}")
    reasons = [(n.get("power") or {}).get("reason") for n in networks]
    unknown = dict.fromkeys(reason for reason in reasons if reason)
    return found + [f"energy per frame is not known: {reason}" for reason in unknown]


def plain(value: Any) -> str:
    """Return any value of the JSON as words."""
    if value is None or value == {} or value == []:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{k.replace('_', ' ')} {plain(v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(plain(item) for item in value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)


def tally(verdicts: Sequence[dict[str, Any]]) -> str:
    """Return how many claims hold, in words."""
    counts = {v: sum(row["verdict"] == v for row in verdicts) for v in VERDICTS}
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)


def ratio(value: Any) -> str:
    """Return a ratio, or a dash."""
    return f"{value:.2f}x" if isinstance(value, (int, float)) else plain(value) or "-"

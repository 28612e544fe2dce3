"""A report of a comparison: Markdown, and one HTML file, from the JSON alone.

figures   what is drawn; svg, axes: how; words: figures as text
page      the HTML; markdown: the same as Markdown with SVG files
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from segnet_deploy.errors import InputError
from segnet_deploy.files import atomic_write, make_folder

FORMAT = 1
FOLDER = "plots"


def report_file(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> list[Path]:
    """Write the report of a JSON file of segnet-bench; return the files. Raises InputError."""
    try:
        content = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path} is no JSON ({error}); expected one of segnet-bench") from error
    return write_report(as_comparison(content, str(path)), folder)


def write_report(comparison: dict[str, Any], folder: str | os.PathLike[str]) -> list[Path]:
    """Write report.html, and report.md with its plots/; return report.html and report.md.

    `comparison` is what segnet-bench writes for several networks; see docs/report.md. Raises
    InputError.
    """
    from segnet_deploy.bench.report.figures import NAMES, figures
    from segnet_deploy.bench.report.markdown import markdown
    from segnet_deploy.bench.report.page import page

    target = Path(folder)
    networks = comparison["networks"]
    failed = [network for network in networks if not _is_measured(network)]
    measured = [network for network in networks if _is_measured(network)]
    if not measured:
        raise InputError(f"no network was measured, so there is nothing to report in {target}")
    make_folder(target / FOLDER)
    comparison = comparison | {"networks": measured, "failed": failed}
    title, drawn = _title(comparison), figures(comparison)
    for name in NAMES:  # of an earlier report
        (target / FOLDER / f"{name}.svg").unlink(missing_ok=True)
    for figure in drawn:
        atomic_write(target / FOLDER / f"{figure.name}.svg", figure.svg(standalone=True).encode())
    texts = {
        "report.html": page(comparison, title, drawn),
        "report.md": markdown(comparison, title, drawn, FOLDER),
    }
    for name, text in texts.items():
        atomic_write(target / name, text.encode())
    return [target / name for name in texts]


def as_comparison(content: Any, source: str) -> dict[str, Any]:
    """Return the comparison that a JSON file holds: a single result becomes one of one network.

    Raises InputError.
    """
    if isinstance(content, dict) and content.get("kind") == "comparison":
        if content.get("format") != FORMAT:
            raise InputError(
                f"{source} has format {content.get('format')}; expected {FORMAT}: measure "
                "again, or use the release that wrote it"
            )
        if not any(map(_is_measured, content.get("networks") or [])):
            raise InputError(f"{source} holds no measured network; run the comparison again")
        return content
    if isinstance(content, dict) and _is_measured(content):
        return _single(content)
    raise InputError(f"{source} is no result of segnet-bench; expected its --json file")


def _single(result: dict[str, Any]) -> dict[str, Any]:
    """Return the comparison of one network that segnet-bench --json has measured."""
    peak, added = result.get("peak_bytes"), result.get("added_bytes")
    network = result | {
        "name": Path(result["engine"]).name,
        "paper": (result.get("paper") or {}).get("network"),
        "baseline_bytes": None if peak is None or added is None else peak - added,
    }
    return {
        "kind": "comparison",
        "format": FORMAT,
        "started": result.get("started"),
        "machine": result.get("machine", {}),
        "versions": result.get("versions", {}),
        "settings": {k: result.get(k) for k in ("runs", "threads", "frame", "batch")},
        "networks": [network],
        "verdicts": [],
    }


def _is_measured(network: dict[str, Any]) -> bool:
    return "infer" in (network.get("seconds") or {})


def _title(comparison: dict[str, Any]) -> str:
    if comparison.get("verdicts"):
        return "SegNet's inference claims, measured"
    names = [str(network["name"]) for network in comparison["networks"]]
    return f"{names[0]}, measured" if len(names) == 1 else f"{len(names)} networks, measured"

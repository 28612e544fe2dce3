"""The reference of the Python packages: autodoc directives for every public name, in groups."""

from __future__ import annotations

import importlib
import inspect

PACKAGES: dict[str, dict[str, tuple[str, ...]]] = {
    "segnet_deploy": {
        "Open and run": ("load", "Segmenter", "Metadata", "predict_files", "Predictions"),
        "Archives": ("segment_archive", "BatchOptions", "BatchResult"),
        "Cameras": ("Camera",),
        "Convert and quantise": (
            *("convert", "ConvertResult", "quantise", "QuantiseResult", "convert_caffe"),
            "CaffeResult",
        ),
        "TensorRT engines": ("build", "BuildOptions", "Built", "rebuild"),
        "Accuracy": ("find_examples", "Example", "evaluate"),
        "Speed and memory": (
            *("run_model", "RunResult", "compare", "ComparisonSettings", "ComparisonExtras"),
            "Comparison",
        ),
        "The fastest file": ("tune", "TuneSettings", "TuneResult"),
        "Serving": ("write_repository", "ServingOptions", "Repository"),
        "Engines of one's own": ("FunctionEngine",),
    },
    "segnet_export": {
        "Export": ("export", "ExportOptions", "ExportResult", "trace", "Trace", "write"),
        "Checkpoints": ("load_checkpoint", "LoadedCheckpoint", "load_weights"),
        "Networks": (
            *("create", "ARCHITECTURES", "Architecture", "SegNet", "SegNetConfig", "SegNetBasic"),
            "place_dropout",
        ),
        "The parity gate": ("GateOptions", "GateReport", "GateRow"),
    },
    "segnet_deploy.camera": {},
}
"""Groups of public names. A name that is in no group is listed under `Further names`."""


def names_page(package: str) -> str:
    """Return an autodoc directive for each public name of a package."""
    module = importlib.import_module(package)
    above = importlib.import_module(package.rpartition(".")[0]).__all__ if "." in package else []
    names = [name for name in module.__all__ if name not in ("__version__", *above)]
    groups = dict(PACKAGES.get(package, {}))
    grouped = {name for group in groups.values() for name in group}
    errors = tuple(n for n in names if n not in grouped and n.endswith("Error"))
    rest = tuple(n for n in names if n not in grouped and n not in errors)
    groups |= {"Errors": errors, "Further names": rest}
    parts = []
    for title, members in groups.items():
        present = [name for name in members if name in names]
        if present:
            parts.append(f"### {title}" if groups.keys() != {"Errors", "Further names"} else "")
            parts += [_directive(package, name, getattr(module, name)) for name in present]
    return "\n\n".join(parts)


def _directive(package: str, name: str, value: object) -> str:
    kind, options = "autodata", ":no-value:\n"
    if inspect.isclass(value):
        error = issubclass(value, Exception)
        kind, options = ("autoexception", "") if error else ("autoclass", ":members:\n")
    elif callable(value):
        kind, options = "autofunction", ""
    lines = [f".. {kind}:: {package}.{name}", *(f"   {line}" for line in options.splitlines())]
    return "\n".join(("```{eval-rst}", *lines, "```"))

"""The result of one model as text."""

from __future__ import annotations

from segnet_deploy.bench.layer_profile import format_layers
from segnet_deploy.bench.paper import TABLE_6_CONDITIONS
from segnet_deploy.bench.result import RunResult
from segnet_deploy.system.machine import describe_cpus

COLUMNS = ("median", "p90", "p95", "p99", "mean", "stdev")


def format_run(result: RunResult) -> str:
    """Return the table; milliseconds and MB appear only here."""
    lines = [
        *_format_conditions(result),
        "",
        *_format_stages(result),
        *_format_samples(result),
        *_format_gpu(result),
        "",
        f"{result.runs} runs after {result.warm_up_runs} warm-up runs, "
        f"{result.frames_per_second:.2f} frames/s, load {result.load_seconds:.2f} s",
        "",
        *_format_memory(result),
        *(f"warning: {warning}" for warning in result.warnings),
        *_format_extras(result),
    ]
    return "\n".join(lines)


def _format_conditions(result: RunResult) -> list[str]:
    height, width = result.frame
    machine = result.machine
    return [
        f"{result.engine}  {result.runtime} {result.runtime_version} ({result.device}), "
        f"{result.form} form, batch {result.batch}, frame {height}x{width}, "
        f"threads {result.threads or 'by the runtime'}",
        f"{machine['processor']}, {describe_cpus(machine)}, {machine['system']}, "
        f"Python {machine['python']}",
    ]


def _format_stages(result: RunResult) -> list[str]:
    lines = [f"{'ms':8}" + "".join(f"{name:>10}" for name in COLUMNS)]
    for stage, row in result.seconds.items():
        lines.append(f"{stage:8}" + "".join(f"{row[name] * 1e3:10.2f}" for name in COLUMNS))
    total = result.seconds["total"]
    if "low" in total:
        lines.append(
            f"median of total: {total['low'] * 1e3:.2f} to {total['high'] * 1e3:.2f} ms with "
            f"95 % confidence, {total['outliers']} outliers"
        )
    if result.switches:
        lines.append(", ".join(f"{name} {value}" for name, value in result.switches.items()))
    return lines


def _format_samples(result: RunResult) -> list[str]:
    if not result.dropout_samples:
        return []
    infer = result.median * 1e3
    return [
        f"{result.dropout_samples} samples of the dropout: {infer:.1f} ms in all, "
        f"{infer / result.dropout_samples:.1f} ms per sample"
    ]


def _format_gpu(result: RunResult) -> list[str]:
    lines = []
    if "gpu" in result.seconds:
        lines.append("gpu: events around the engine alone; infer: with transfers")
    if result.device_bytes is not None:
        lines.append(f"GPU memory of the engine: {_mb(result.device_bytes)} MB")
    if result.gpu:
        shown = {key: value for key, value in result.gpu.items() if value and key != "energy_j"}
        lines.append(", ".join(f"{key} {value}" for key, value in shown.items()))
    return lines


def _format_memory(result: RunResult) -> list[str]:
    lines = [
        f"{'':16}{'infer ms':>10}{'memory MB':>11}{'added MB':>10}{'model MB':>10}",
        f"{'this machine':16}{result.median * 1e3:10.1f}{_mb(result.peak_bytes):>11}"
        f"{_mb(result.added_bytes):>10}{_mb(result.model_bytes):>10}",
    ]
    if paper := result.paper:
        lines += [
            f"{'paper, Table 6':16}{paper.forward * 1e3:10.1f}{_mb(paper.inference_bytes):>11}"
            f"{'-':>10}{_mb(paper.model_bytes):>10}",
            f"(paper: {paper.network}, {TABLE_6_CONDITIONS}; here: peak memory of the process)",
        ]
    return lines


def _format_extras(result: RunResult) -> list[str]:
    """Return the lines of --power and --layers."""
    lines = []
    if power := result.power:
        if power.joules_per_frame is None:
            lines.append(f"energy: unknown ({power.reason})")
        else:
            lines.append(
                f"energy: {power.joules_per_frame:.3f} J per frame, {power.watts:.1f} W "
                f"({power.source})"
            )
    if result.layers:
        lines += ["", format_layers(result.layers)]
    return lines


def _mb(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 1e6:.1f}"

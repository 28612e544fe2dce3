"""The paper's claims on time and memory, judged by a comparison's own figures.

A difference counts where the confidence interval of the ratio, round by round, and 5 % around
it leave 1 out; otherwise, and with fewer rounds than an interval needs, the verdict is 'within
noise'.
"""

from __future__ import annotations

from typing import Any

from segnet_deploy.bench.paper import TABLE_6, table_6
from segnet_deploy.bench.timing import NOISE_LIMIT, Timing

HOLDS, FAILS, NOISE = "holds", "does not hold", "within noise"
FCN, DEEPLAB, DECONVNET = "FCN (learnt deconv)", "DeepLab-LargeFOV", "DeconvNet"
UNET = "U-Net"
MEMORY_NOISE = 8e6  # bytes by which one process differs from the next
Network = dict[str, Any]
Verdict = dict[str, Any]

SINCE_TIME = (
    "In 2016 Caffe ran convolutions by lowering them to matrix products, whatever their shape; "
    "today's libraries choose a method for each, so time follows the multiply-adds and how "
    "well each shape fills the machine"
)
SINCE_MEMORY = (
    "Caffe kept every layer's output and its cuDNN workspace for the whole run; today's runtimes "
    "reuse the memory of outputs that are no longer needed, so weights and the largest few "
    "maps decide"
)


def verdicts(comparison: dict[str, Any]) -> list[Verdict]:
    """Return a verdict for each claim that the networks at hand can decide.

    `ratio` is the other network's figure over SegNet's, beside the paper's from Table 6.
    """
    found: dict[str, Network] = {}
    for network in comparison["networks"]:
        if network["paper"] and network["seconds"] and not network["error"]:
            found.setdefault(network["paper"], network)
    segnet = found.pop("SegNet", None)
    if segnet is None:
        return []
    runs = comparison["settings"]["runs"]
    judged = [
        *_times(segnet, found, runs),
        *_memories(segnet, found),
        *_sizes(segnet, found),
        *_indices(segnet),
    ]
    return judged + _efficient(segnet, found, runs) + _competing(judged)


def _times(segnet: Network, others: dict[str, Network], runs: int) -> list[Verdict]:
    judged = []
    for name, slower in ((FCN, True), (DEEPLAB, True), (DECONVNET, False)):
        if name not in others:
            continue
        ratios = _paired(segnet, others[name], runs)
        claim = f"SegNet is {'slower' if slower else 'faster'} than {name}"
        ours, theirs = (n["seconds"]["infer"]["median"] for n in (segnet, others[name]))
        sure = (
            "{:.2f} to {:.2f} times SegNet".format(*ratios.interval)
            if ratios.interval
            else f"{len(ratios.samples)} rounds are too few to decide"
        )
        figures = f"SegNet {ours * 1e3:.0f} ms, {name} {theirs * 1e3:.0f} ms, {sure}"
        paper = table_6(name).forward / table_6().forward
        verdict = _decide_time(ratios, below=slower)
        note = SINCE_TIME + _work(segnet, others[name], name)
        judged.append(_verdict(claim, verdict, figures, ratios.median, paper, note))
    return judged


def _paired(segnet: Network, other: Network, runs: int) -> Timing:
    """Return the ratios of the other's time to SegNet's, round by round."""
    medians = []
    for network in (segnet, other):
        samples = network["samples"]["infer"]
        rounds = [samples[i : i + runs] for i in range(0, len(samples), runs)]
        medians.append([Timing(tuple(values)).median for values in rounds])
    return Timing(tuple(b / a for a, b in zip(*medians, strict=False)))


def _decide_time(ratios: Timing, below: bool) -> str:
    """Judge a claim on time from the interval of its ratios; without one nothing is sure."""
    return _decide(*ratios.interval, below=below) if ratios.interval else NOISE


def _decide(low: float, high: float, below: bool, margin: float = NOISE_LIMIT) -> str:
    """Judge the claim that a ratio is `below` 1 (or else above) from its interval."""
    if high < 1 - margin:
        return HOLDS if below else FAILS
    if low > 1 + margin:
        return FAILS if below else HOLDS
    return NOISE


def _memories(segnet: Network, others: dict[str, Network]) -> list[Verdict]:
    ours = running_added(segnet)
    named = {
        row.network: running_added(others[row.network])
        for row in TABLE_6[1:]
        if row.network in others
    }
    known = {name: size for name, size in named.items() if size}
    if not ours or not known:
        return []
    least = min(known, key=lambda name: known[name])
    ratio = known[least] / ours
    sizes = ", ".join(f"{name} {size / 1e6:.0f}" for name, size in known.items())
    paper = min(table_6(name).inference_bytes for name in known) / table_6().inference_bytes
    return [
        _verdict(
            "SegNet needs the least memory for inference",
            _decide_memory(ratio, ours, below=False),
            f"MB above the runtime's own, while frames run: SegNet {ours / 1e6:.0f}, {sizes}; "
            f"nearest: {least}",
            ratio,
            paper,
            SINCE_MEMORY,
        )
    ]


def _decide_memory(ratio: float, ours: int, below: bool) -> str:
    """Judge a claim on memory from the other's ratio to SegNet's bytes."""
    return _decide(ratio, ratio, below=below, margin=max(NOISE_LIMIT, MEMORY_NOISE / ours))


def running_added(network: Network) -> int | None:
    """Return the memory while frames run, above the runtime's baseline; a GPU's own counts."""
    if network.get("device_bytes"):
        return int(network["device_bytes"])
    running, baseline = network.get("running_bytes"), network.get("baseline_bytes")
    return running - baseline if running and baseline else None


def _sizes(segnet: Network, others: dict[str, Network]) -> list[Verdict]:
    judged = []
    for name, larger in ((FCN, True), (DECONVNET, True), (DEEPLAB, False)):
        if name not in others:
            continue
        ratio = others[name]["model_bytes"] / segnet["model_bytes"]
        word = "smaller" if larger else "larger"
        judged.append(
            _verdict(
                f"SegNet's model is {word} than {name}'s",
                _decide(ratio, ratio, below=not larger, margin=0.01),
                f"files: SegNet {segnet['model_bytes'] / 1e6:.1f} MB, {name} "
                f"{others[name]['model_bytes'] / 1e6:.1f} MB",
                ratio,
                table_6(name).model_bytes / table_6().model_bytes,
                "Parameters are what they were; a smaller precision shrinks all alike",
            )
        )
    return judged


def _indices(segnet: Network) -> list[Verdict]:
    windows = segnet.get("index_windows")
    if not windows:
        return []
    first, total = windows[0], sum(windows)
    mb = first * 2 / 8 / 1e6
    slip = first / 4 * 2 / 8 / 1e6
    return [
        _verdict(
            "Pooling indices need 2 bits per window: .17 MB where 64 maps take 11 MB",
            FAILS,
            f"2 bits suffice, but the first pool has {first} windows, so {mb:.2f} MB; the printed "
            f"figure counts a quarter of them ({slip:.2f} MB). All {len(windows)} pools: "
            f"{total * 2 / 8 / 1e6:.2f} MB at 2 bits, {total * 8 / 1e6:.1f} MB as int64; this "
            f"file ({segnet['form']}): {segnet['index_bytes'] / 1e6:.1f} MB",
            16.0,
            64.0,
            "The saving over fp32 maps of the same pool is 16x, not 64x, and 2.75x, not 11x, "
            "against maps reduced to 11 channels. The authors' Caffe kept indices as fp32; the "
            "TensorRT plugin here packs them into 2 bits",
        )
    ]


def _efficient(segnet: Network, others: dict[str, Network], runs: int) -> list[Verdict]:
    """Judge time and memory together, among the networks of Table 6, and U-Net, at one size."""
    ours, compared = running_added(segnet), list[str]()
    better, unsure = list[str](), list[str]()
    for name in (*(row.network for row in TABLE_6), UNET):
        theirs = running_added(others[name]) if name in others else None
        if not ours or not theirs or others[name].get("input") != segnet.get("input"):
            continue
        compared.append(name)
        faster = _decide_time(_paired(segnet, others[name], runs), below=True)
        smaller = _decide_memory(theirs / ours, ours, below=True)
        if faster == smaller == HOLDS:
            better.append(name)
        elif FAILS not in (faster, smaller):
            unsure.append(name)
    if not compared:
        return []
    return [
        _verdict(
            "Efficient both in memory and computational time during inference",
            FAILS if better else NOISE if unsure else HOLDS,
            f"faster and in less memory than SegNet: {', '.join(better) or 'none'}; undecided: "
            f"{', '.join(unsure) or 'none'}; of {', '.join(compared)}",
            None,
            None,
            "Table 6 itself has two faster networks; the claim is read here as: none is better "
            "in both at once",
        )
    ]


def _competing(judged: list[Verdict]) -> list[Verdict]:
    """Judge the sentence on size and time together, from the verdicts on each."""
    rivals = [v for v in judged if v["claim"].startswith(("SegNet is ", "SegNet's model"))]
    lost = [v["claim"] for v in rivals if v["verdict"] != NOISE and not _speaks_for_segnet(v)]
    unsure = [v["claim"] for v in rivals if v["verdict"] == NOISE]
    if not rivals:
        return []
    return [
        _verdict(
            "Smaller and faster than other competing architectures",
            FAILS if lost else NOISE if unsure else HOLDS,
            f"against it: {'; '.join(lost) or 'nothing above'}; undecided: "
            f"{'; '.join(unsure) or 'nothing'}",
            None,
            None,
            "Table 6 contradicts this sentence of the paper: FCN and DeepLab are faster there, "
            "and DeepLab is smaller",
        ),
    ]


def _speaks_for_segnet(verdict: Verdict) -> bool:
    good = "faster" in verdict["claim"] or "smaller" in verdict["claim"]
    return bool(verdict["verdict"] == (HOLDS if good else FAILS))


def _work(segnet: Network, other: Network, name: str) -> str:
    """Say the arithmetic of both, and how fast each ran through it."""
    if not segnet.get("gmac") or not other.get("gmac"):
        return "."
    speeds = [n["gmac"] / n["seconds"]["infer"]["median"] for n in (segnet, other)]
    return (
        f": {segnet['gmac']:.0f} GMAC at {speeds[0]:.0f} GMAC/s for SegNet, "
        f"{other['gmac']:.0f} at {speeds[1]:.0f} for {name}."
    )


def _verdict(
    claim: str,
    verdict: str,
    figures: str,
    ratio: float | None,
    paper_ratio: float | None,
    note: str,
) -> Verdict:
    return {
        "claim": claim,
        "verdict": verdict,
        "figures": figures,
        "ratio": ratio,
        "paper_ratio": paper_ratio,
        "note": note if note.endswith(".") else note + ".",
    }

"""The SegNet paper's claims on time and memory, judged by a comparison's own figures.

When a difference counts is decided in decisions.py.
"""

from __future__ import annotations

from segnet_deploy.bench.comparison.decisions import (
    decide,
    decide_memory,
    decide_time,
    round_ratios,
)
from segnet_deploy.bench.paper import TABLE_6, table_6
from segnet_deploy.bench.result import (
    FAILS,
    HOLDS,
    NOISE,
    Comparison,
    NetworkResult,
    Verdict,
)

FCN, DEEPLAB, DECONVNET = "FCN (learnt deconv)", "DeepLab-LargeFOV", "DeconvNet"
UNET = "U-Net"
SIZE_MARGIN = 0.01  # files of one size differ by less
Networks = dict[str, NetworkResult]

TIME_NOTE = (
    "In 2016, Caffe computed every convolution as a matrix product. Today's libraries choose an "
    "algorithm by shape, so time follows the multiply-adds and how well each shape uses the "
    "machine"
)
MEMORY_NOTE = (
    "Caffe kept every layer's output and its cuDNN workspace for the whole run. Today's runtimes "
    "reuse the memory of outputs that are no longer needed, so the weights and the few largest "
    "maps decide"
)


def judge_claims(comparison: Comparison) -> list[Verdict]:
    """Return a verdict for each claim that the measured networks can decide.

    `ratio` is the other network's figure divided by SegNet's, `paper_ratio` that of Table 6.
    """
    networks: Networks = {}
    for network in comparison.networks:
        if network.paper and network.seconds and not network.error:
            networks.setdefault(network.paper, network)
    segnet = networks.pop("SegNet", None)
    if segnet is None:
        return []
    runs = comparison.settings["runs"]
    times = _judge_times(segnet, networks, runs)
    sizes = _judge_sizes(segnet, networks)
    return [
        *times,
        *_judge_memory(segnet, networks),
        *sizes,
        *_judge_indices(segnet),
        *_judge_efficiency(segnet, networks, runs),
        *_judge_competition(times + sizes),
    ]


def _judge_times(segnet: NetworkResult, others: Networks, runs: int) -> list[Verdict]:
    verdicts = []
    for name, segnet_slower in ((FCN, True), (DEEPLAB, True), (DECONVNET, False)):
        if name not in others:
            continue
        other = others[name]
        ratios = round_ratios(segnet, other, runs)
        interval = (
            "{:.2f} to {:.2f} times SegNet".format(*ratios.interval)
            if ratios.interval
            else f"{len(ratios.samples)} rounds are too few to decide"
        )
        verdicts.append(
            _verdict(
                f"SegNet is {'slower' if segnet_slower else 'faster'} than {name}",
                decide_time(ratios, below=segnet_slower),
                f"SegNet {segnet.median * 1e3:.0f} ms, {name} {other.median * 1e3:.0f} ms, "
                f"{interval}",
                TIME_NOTE + _describe_speeds(segnet, other, name),
                ratios.median,
                table_6(name).forward / table_6().forward,
            )
        )
    return verdicts


def _judge_memory(segnet: NetworkResult, others: Networks) -> list[Verdict]:
    ours = segnet.running_added_bytes
    known: dict[str, int] = {}
    for row in TABLE_6[1:]:
        size = others[row.network].running_added_bytes if row.network in others else None
        if size:
            known[row.network] = size
    if not ours or not known:
        return []
    smallest = min(known, key=lambda name: known[name])
    ratio = known[smallest] / ours
    sizes = ", ".join(f"{name} {size / 1e6:.0f}" for name, size in known.items())
    paper = min(table_6(name).inference_bytes for name in known) / table_6().inference_bytes
    return [
        _verdict(
            "SegNet needs the least memory for inference",
            decide_memory(ratio, ours, below=False),
            f"MB above the runtime's own, while frames run: SegNet {ours / 1e6:.0f}, {sizes}; "
            f"nearest: {smallest}",
            MEMORY_NOTE,
            ratio,
            paper,
        )
    ]


def _judge_sizes(segnet: NetworkResult, others: Networks) -> list[Verdict]:
    verdicts = []
    for name, segnet_smaller in ((FCN, True), (DECONVNET, True), (DEEPLAB, False)):
        theirs = others[name].model_bytes if name in others else None
        if not theirs or not segnet.model_bytes:
            continue
        ratio = theirs / segnet.model_bytes
        verdicts.append(
            _verdict(
                f"SegNet's model is {'smaller' if segnet_smaller else 'larger'} than {name}'s",
                decide(ratio, ratio, below=not segnet_smaller, margin=SIZE_MARGIN),
                f"files: SegNet {segnet.model_bytes / 1e6:.1f} MB, {name} {theirs / 1e6:.1f} MB",
                "The number of parameters is as in the paper; a smaller precision shrinks all "
                "alike",
                ratio,
                table_6(name).model_bytes / table_6().model_bytes,
            )
        )
    return verdicts


def _judge_indices(segnet: NetworkResult) -> list[Verdict]:
    """Judge the paper's arithmetic on the memory of pooling indices."""
    windows = segnet.index_windows
    if not windows:
        return []
    first, total = windows[0], sum(windows)
    at_2_bits = first * 2 / 8 / 1e6
    return [
        _verdict(
            "Pooling indices need 2 bits per window: .17 MB where 64 maps take 11 MB",
            FAILS,
            f"2 bits suffice, but the first pool has {first} windows, so {at_2_bits:.2f} MB; the "
            f"printed figure counts a quarter of them ({at_2_bits / 4:.2f} MB). All "
            f"{len(windows)} pools: {total * 2 / 8 / 1e6:.2f} MB at 2 bits, "
            f"{total * 8 / 1e6:.1f} MB as int64; this file ({segnet.form}): "
            f"{(segnet.index_bytes or 0) / 1e6:.1f} MB",
            "The saving over fp32 maps of the same pool is 16x, not 64x, and 2.75x, not 11x, over "
            "maps reduced to 11 channels. The authors' Caffe stored indices as fp32; the TensorRT "
            "plugin here packs them into 2 bits",
            16.0,
            64.0,
        )
    ]


def _judge_efficiency(segnet: NetworkResult, others: Networks, runs: int) -> list[Verdict]:
    """Judge time and memory together, among the networks of Table 6 and U-Net at one size."""
    ours, compared = segnet.running_added_bytes, list[str]()
    better, undecided = list[str](), list[str]()
    for name in (*(row.network for row in TABLE_6), UNET):
        theirs = others[name].running_added_bytes if name in others else None
        if not ours or not theirs or others[name].input != segnet.input:
            continue
        compared.append(name)
        faster = decide_time(round_ratios(segnet, others[name], runs), below=True)
        smaller = decide_memory(theirs / ours, ours, below=True)
        if faster == smaller == HOLDS:
            better.append(name)
        elif FAILS not in (faster, smaller):
            undecided.append(name)
    if not compared:
        return []
    return [
        _verdict(
            "Efficient both in memory and computational time during inference",
            FAILS if better else NOISE if undecided else HOLDS,
            f"faster than SegNet and with less memory: {', '.join(better) or 'none'}; undecided: "
            f"{', '.join(undecided) or 'none'}; of {', '.join(compared)}",
            "Table 6 itself has two faster networks; the claim is read as: no network is better "
            "in both",
        )
    ]


def _judge_competition(verdicts: list[Verdict]) -> list[Verdict]:
    """Judge the sentence on size and time together from the `verdicts` on each."""
    against = [v.claim for v in verdicts if v.verdict != NOISE and not _favours_segnet(v)]
    undecided = [v.claim for v in verdicts if v.verdict == NOISE]
    if not verdicts:
        return []
    return [
        _verdict(
            "Smaller and faster than other competing architectures",
            FAILS if against else NOISE if undecided else HOLDS,
            f"against it: {'; '.join(against) or 'nothing above'}; undecided: "
            f"{'; '.join(undecided) or 'nothing'}",
            "Table 6 contradicts this sentence of the paper: FCN and DeepLab are faster there, "
            "and DeepLab is smaller",
        ),
    ]


def _favours_segnet(verdict: Verdict) -> bool:
    is_praise = "faster" in verdict.claim or "smaller" in verdict.claim
    return verdict.verdict == (HOLDS if is_praise else FAILS)


def _describe_speeds(segnet: NetworkResult, other: NetworkResult, name: str) -> str:
    """Return the multiply-adds of both networks, and how fast each computes them."""
    if not segnet.gmac or not other.gmac:
        return "."
    return (
        f": {segnet.gmac:.0f} GMAC at {segnet.gmac / segnet.median:.0f} GMAC/s for SegNet, "
        f"{other.gmac:.0f} at {other.gmac / other.median:.0f} for {name}."
    )


def _verdict(
    claim: str,
    verdict: str,
    figures: str,
    note: str,
    ratio: float | None = None,
    paper_ratio: float | None = None,
) -> Verdict:
    note = note if note.endswith(".") else f"{note}."
    return Verdict(
        claim=claim,
        verdict=verdict,
        figures=figures,
        ratio=ratio,
        paper_ratio=paper_ratio,
        note=note,
    )

"""How fast is torch.compile, with PyTorch's pair and with ours, in the same rounds?"""

from __future__ import annotations

from typing import Any

import torch

from gpu.libraries import open_kernels
from gpu.network import SIZE, SMALL_SIZE, Variant, prepare, record_times
from gpu.place import Call, Place
from gpu.record import Record
from gpu.torch_pair import build_network, channels_last, register

ROUNDS = 50
# (mode, our pair), the quick mode first: rows are kept if a slow one exceeds the part's time.
COMPILED = (
    ("reduce-overhead", False),
    ("reduce-overhead", True),
    ("max-autotune", False),
    ("max-autotune", True),
)


def run(place: Place, record: Record) -> None:
    """Compile the network in fp16, channels last, batch 1; time it next to the graph variants."""
    kernels = open_kernels(place)
    register(kernels)
    record.fact("libraries", [kernels.origin])
    torch.backends.cudnn.benchmark = True
    with torch.inference_mode():
        references = [Variant(ours, "fp16", True, True) for ours in (True, False)]
        calls: dict[str, Call] = {str(v): prepare(place, v, 1)[0] for v in references}
        for mode, ours in place.sized(COMPILED, COMPILED[:2]):
            name = f"{'ours' if ours else 'torch'} compiled {mode} fp16 NHWC"
            try:
                calls[name] = _compiled(place, ours, mode)
            except Exception as error:  # of the compiler: it has no common base
                message = f"{type(error).__name__}: {error}"[:300]
                record.row("compiled", variant=name, error=message)
                continue
            record_times(place, record, "compiled", 1, calls, place.sized(ROUNDS, 2))
    compiled = [row for row in record.tables["compiled"] if "gpu_seconds" in row]
    record.must("at least one mode was compiled", any("compiled" in r["variant"] for r in compiled))


def _compiled(place: Place, ours: bool, mode: str) -> Call:
    """Return a call of the compiled network. A dry run traces it and compiles nothing."""
    network = channels_last(build_network(place, ours, torch.float16))
    x = torch.randn(1, 3, *place.sized(SIZE, SMALL_SIZE), device=place.device)
    x = x.half().contiguous(memory_format=torch.channels_last)
    expected = network(x)
    options: Any = {"backend": "aot_eager"} if place.dry else {"mode": mode}
    module: Any = torch.compile(network, dynamic=False, **options)
    for _ in range(3):
        found = module(x)
    difference = float((found.float() - expected.float()).abs().max())
    if difference > 0.05 * float(expected.float().abs().max()):
        raise ValueError(f"the compiled network differs by {difference:.3g}")
    return lambda: module(x)

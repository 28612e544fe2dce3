"""What a file holds, whatever runs it: multiply-adds, and the memory of its pooling indices."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from segnet_deploy.bench.roofline import work

INDEX_BITS = {"int64": 64, "masks": 32, "plugin": 2}


def weigh(path: Path) -> dict[str, Any]:
    """Return `gmac`, `traffic_bytes`, and the windows whose index is kept, by pool.

    `index_bytes` is what the file's own form takes: int64 indices (standard), four boolean
    masks (lowered) or 2 bits (plugin). None where a shape is not static, or for an engine.
    """
    from segnet_deploy.runtimes.tensorrt.plan import is_plan

    if is_plan(path):
        return {"gmac": None, "traffic_bytes": None, "index_windows": None, "index_bytes": None}
    done = work(path)
    windows, kind = index_windows(path)
    known = windows is not None
    return {
        "gmac": done["macs"] / 1e9 if done else None,
        "traffic_bytes": done["traffic_bytes"] if done else None,
        "index_windows": windows,
        "index_kind": kind if windows else None,
        "index_bytes": sum(windows) * INDEX_BITS[kind] // 8 if known and windows else 0,
    }


def index_windows(path: Path) -> tuple[list[int] | None, str]:
    """Return the 2x2 windows of each pool that is unpooled, and how indices are stored.

    None where a shape is not static.
    """
    shapes, kind = index_shapes(path)
    sizes = [list(shape) if shape is not None else [None] for shape in shapes]
    if not all(isinstance(size, int) for shape in sizes for size in shape):
        return None, kind
    return [math.prod(shape) for shape in sizes], kind


def index_shapes(path: Path) -> tuple[list[Any], str]:
    """Return the shape of each pool that is unpooled, and how indices are stored."""
    from segnet_deploy.passes import contract
    from segnet_deploy.passes.lower_unpooling import find_masks
    from segnet_deploy.passes.unpooling_pairs import find_pairs
    from segnet_deploy.runtimes.model_file import load_model

    graph = load_model(path).graph
    kind = "plugin" if any(node.domain == contract.DOMAIN for node in graph) else "int64"
    shapes = [pair.pool.outputs[0].shape for pair in find_pairs(graph)]
    if not shapes:
        firsts = [mask for mask in find_masks(graph) if str(mask.name).endswith(".0")]
        shapes, kind = [mask.shape for mask in firsts], "masks"
    return shapes, kind

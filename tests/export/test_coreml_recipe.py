"""The pair of docs/how-to/devices.md for CoreML, against PyTorch's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cases
import pytest
import torch
from torch.nn import functional as F

DOCUMENT = Path(__file__).parents[2] / "docs/how-to/devices.md"


@pytest.fixture(scope="module")
def recipe() -> dict[str, Any]:
    """Return the names that the first Python block of the CoreML section defines."""
    section = DOCUMENT.read_text().split("## CoreML")[1]
    block = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert block is not None
    names: dict[str, Any] = {}
    exec(block[1], names)
    return names


# The recipe pools with ceil_mode, which makes no difference at even sizes, and finite values.
CEILED = [case for case in cases.CASES if case.ceil_mode and case.values != "infinite"]


@pytest.mark.parametrize("case", CEILED, ids=str)
def test_documented_pair_equals_that_of_pytorch(
    case: cases.PoolCase, recipe: dict[str, Any]
) -> None:
    x = torch.from_numpy(case.make())
    pooled, indices = F.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)
    wanted = F.max_unpool2d(pooled, indices, 2, 2, output_size=x.shape[2:])
    found, places, size = recipe["pool"](x)
    assert torch.equal(found, pooled)
    assert torch.equal(recipe["unpool"](found, places, size), wanted)

"""Change other files: bytes, JSON, text of configurations and class lists, checkpoints."""

from __future__ import annotations

import collections
import copy
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

VALUES: tuple[Any, ...] = (
    *(None, -1, 0, 1e308, 2**63, "", "x" * 10_000, [], {}, [[]], {"a": None}, True, [1, 2, 3]),
    *("../canary/secret.bin", "\0", [{}], "NaN", [None], -0.5),
)


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Delete, flip, insert, repeat or overwrite bytes."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8, 40))):
        if not changed:
            break
        at = rng.randrange(len(changed))
        how = rng.randrange(5)
        if how == 0:
            del changed[at : at + rng.choice((1, 7, 1000))]
        elif how == 1:
            changed[at] ^= 1 << rng.randrange(8)
        elif how == 2:
            changed[at:at] = rng.randbytes(rng.choice((1, 4, 64)))
        elif how == 3:
            changed[at : at + 8] = changed[:8]
        else:
            changed[at : at + 4] = rng.choice((b"\0\0\0\0", b"\xff\xff\xff\x7f", b"null", b"-1e9"))
    if rng.random() < 0.1:
        del changed[rng.randrange(len(changed) + 1) :]
    return bytes(changed)


def mutate_json(data: bytes, rng: random.Random) -> bytes:
    """Replace, remove or add a value somewhere in the document, or mutate its bytes."""
    if rng.random() < 0.3:
        return mutate_bytes(data, rng)
    document = json.loads(data)
    for _ in range(rng.choice((1, 1, 3))):
        places = list(_places(document))
        if not places:
            break
        holder, key = rng.choice(places)
        if rng.random() < 0.2:
            del holder[key]
        else:
            holder[key] = copy.deepcopy(rng.choice(VALUES))
    if rng.random() < 0.05:
        return b"[" * 100_000
    return json.dumps(document).encode()


def _places(value: Any) -> Any:
    """Yield each container of a JSON value with each of its keys."""
    keys = range(len(value)) if isinstance(value, list) else value
    if isinstance(value, (dict, list)):
        for key in keys:
            yield value, key
            yield from _places(value[key])


def mutate_text(data: bytes, rng: random.Random) -> bytes:
    """Replace a word by another value, repeat lines, or mutate the bytes."""
    if rng.random() < 0.4:
        return mutate_bytes(data, rng)
    words = data.decode("utf-8", "replace").split(" ")
    others = ("-1", "nan", '""', "[1]", "true", "1e400", "99999999999", "=", "\0", "'", "[a]", "\n")
    for _ in range(rng.choice((1, 2, 5))):
        words[rng.randrange(len(words))] = rng.choice(others)
    return " ".join(words).encode() * rng.choice((1, 1, 2))


def write_checkpoint(seed: Path, target: Path, rng: random.Random) -> None:
    """Write a state dict whose entries were changed, or the mutated bytes of `seed`."""
    import torch

    if rng.random() < 0.4:
        target.write_bytes(mutate_bytes(seed.read_bytes(), rng))
        return
    weights: dict[str, Any] = torch.load(seed, weights_only=True)
    for _ in range(rng.choice((1, 1, 2, 4))):
        change = rng.choice(_ON_WEIGHTS)
        try:
            change(weights, rng)
        except (RuntimeError, IndexError, TypeError, ValueError):
            continue  # an earlier mutation made a tensor that this one cannot change
    found: Any = weights
    if rng.random() < 0.5:
        key = rng.choice(("state_dict", "model", "ema", "weights", "x.y", "", "optimizer"))
        found = {key: weights, "epoch": rng.choice((3, None, "x", [weights]))}
        if rng.random() < 0.3:
            found["again"] = found
    torch.save(found, target)


def _replace_tensor(weights: dict[Any, Any], rng: random.Random) -> None:
    import torch

    name = rng.choice([key for key, value in weights.items() if hasattr(value, "dim")])
    old = weights[name]
    makers: tuple[Callable[[], Any], ...] = (
        lambda: old.half(),
        lambda: old.double(),
        lambda: old.to(torch.int32),
        lambda: old * float("nan"),
        lambda: old[:1] if old.dim() else old,
        lambda: old.flatten(),
        lambda: old[None],
        lambda: torch.empty(0),
        lambda: torch.zeros(()),
        lambda: old.to("meta"),
        lambda: old.to_sparse(),
        lambda: old.to(torch.complex64),
        lambda: torch.zeros(1).expand(2**40),
        lambda: old.transpose(0, -1),
        lambda: torch.quantize_per_tensor(old.float(), 0.1, 0, torch.qint8),
        lambda: torch.nested.nested_tensor([old, old]),
        lambda: torch.nn.Parameter(old.float()),
    )
    weights[name] = rng.choice(makers)()


def _rename(weights: dict[Any, Any], rng: random.Random) -> None:
    name = rng.choice(list(weights))
    names = ("module.x", "", "0", "conv.weight", "encoder.0.weight", 7, None, ("a",), "y" * 10_000)
    value = weights.pop(name)
    weights[rng.choice(names)] = value


def _remove(weights: dict[Any, Any], rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 10))):
        if weights:
            del weights[rng.choice(list(weights))]


def _add(weights: dict[Any, Any], rng: random.Random) -> None:
    import torch

    values: tuple[Any, ...] = (
        *(None, 3, "text", [1], {"a": 1}, weights, collections.OrderedDict(weights), 1e999),
        *(torch.ones(3, 3, 3, 3), torch.ones(4), torch.ones(64, 64, 3, 3), b"bytes", {1, 2}),
    )
    weights[rng.choice(("extra.weight", "criterion.weight", "ema", "z.conv.weight"))] = rng.choice(
        values
    )


def _prefix(weights: dict[Any, Any], rng: random.Random) -> None:
    prefix = rng.choice(("module.", "model.", "a.b.", "."))
    for name in list(weights):
        if isinstance(name, str) and rng.random() < 0.9:
            weights[prefix + name] = weights.pop(name)


_ON_WEIGHTS: tuple[Callable[[dict[Any, Any], random.Random], None], ...] = (
    *(_replace_tensor, _replace_tensor, _replace_tensor, _rename, _remove, _add, _prefix),
)

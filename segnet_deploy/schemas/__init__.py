"""The JSON that commands write: a schema for each kind of document, next to this module.

Every document begins with `kind`, the name of its schema, and `format`, the version of it. The
version rises when a key goes away or changes its meaning; a new key is in the schema of the
release that writes it.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from segnet_deploy.errors import InputError

FORMATS = {
    "run": 1,
    "comparison": 1,
    "evaluation": 1,
    "tune": 1,
    "doctor": 1,
    "camera-log": 1,
    "camera-labels": 1,
    "predictions": 1,
}


def head(kind: str) -> dict[str, Any]:
    """Return the first two keys of a document."""
    return {"kind": kind, "format": FORMATS[kind]}


def read_schema(kind: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a kind of document. Raises InputError.

    >>> read_schema("run")["properties"]["kind"]["const"]
    'run'
    """
    if kind not in FORMATS:
        raise InputError(f"no schema {kind!r}; expected one of {', '.join(FORMATS)}")
    schema: dict[str, Any] = json.loads(
        (resources.files(__package__) / f"{kind}.json").read_text(encoding="utf-8")
    )
    return schema

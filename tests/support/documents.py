"""The documents that commands write, checked against the schemas of the package."""

from __future__ import annotations

from typing import Any

import jsonschema

from segnet_deploy import read_schema


def validated(document: Any) -> Any:
    """Return `document`. Raises ValidationError if it does not fit the schema that it names."""
    validator = jsonschema.Draft202012Validator(read_schema(document["kind"]))
    validator.validate(document)
    return document

"""The schemas of the JSON that commands write. Real documents are checked where they are made."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from documents import validated

import segnet_deploy
from segnet_deploy.bench.result import read_result
from segnet_deploy.cli import doctor
from segnet_deploy.errors import InputError
from segnet_deploy.schemas import FORMATS, read_schema

FOLDER = Path(segnet_deploy.__file__).parent / "schemas"
DOCS = Path(__file__).parents[2] / "docs"
RESULTS = Path(__file__).parents[2] / "benchmarks/results"


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield each part of a schema that lists properties."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield schema
        for part in schema.values():
            yield from objects(part)


def test_every_kind_has_a_file() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == FORMATS.keys()


@pytest.mark.parametrize("kind", FORMATS)
def test_schema_is_valid_and_names_itself(kind: str) -> None:
    schema = read_schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:segnet-deploy:{kind}:{FORMATS[kind]}"
    assert schema["properties"]["kind"]["const"] == kind
    assert schema["properties"]["format"]["const"] == FORMATS[kind]
    assert schema["required"][:2] == ["kind", "format"]
    assert schema["additionalProperties"] is False
    for part in schema["properties"].values():
        assert part["description"].endswith(".")
    for part in objects(schema):
        assert set(part.get("required", [])) <= part["properties"].keys()


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(InputError, match="no schema 'x'; expected one of run, comparison"):
        read_schema("x")


def test_documents_of_doctor_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(["--json", "-"]) == 0
    assert validated(json.loads(capsys.readouterr().out))["works"] is True


@pytest.mark.parametrize("path", sorted(RESULTS.glob("paper-*.json")), ids=lambda path: path.name)
def test_published_comparison_fits(path: Path) -> None:
    document = validated(json.loads(json.dumps(read_result(path).to_json())))
    assert len(document["networks"]) >= 4


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d.pop("checks"),
        lambda d: d["checks"].clear(),
        lambda d: d["checks"][0].update(state="fine"),
        lambda d: d["checks"][0].update(further=1),
        lambda d: d.update(further=1),
        lambda d: d.update(format=2),
    ],
)
def test_other_documents_do_not_fit(damage: Any) -> None:
    check = {"name": "python", "state": "ok", "detail": "", "advice": ""}
    document = {"kind": "doctor", "format": 1, "version": "1", "works": True, "checks": [check]}
    damaged = copy.deepcopy(validated(document))
    damage(damaged)
    with pytest.raises(jsonschema.ValidationError):
        validated(damaged)

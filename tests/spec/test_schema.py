"""The JSON Schema that editors take: whole, and as strict as the check itself."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner
from ssl_sweep.evaluation.registry import EVALUATIONS
from ssl_sweep.methods import METHODS
from ssl_sweep.orchestrator.cli.main import main
from ssl_sweep.orchestrator.spec.models import SweepSpec


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    result = CliRunner().invoke(main, ["schema"])
    assert result.exit_code == 0
    return json.loads(result.stdout)


def inside(value: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in the schema."""
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from inside(item)
    elif isinstance(value, list):
        for item in value:
            yield from inside(item)


def test_every_reference_resolves(schema: dict[str, Any]) -> None:
    references = {part["$ref"] for part in inside(schema) if "$ref" in part}
    references |= {ref for part in inside(schema) for ref in part.get("discriminator", {}).get("mapping", {}).values()}
    assert references
    assert all(ref.startswith("#/$defs/") for ref in references)
    names = {ref.removeprefix("#/$defs/") for ref in references}
    assert names == set(schema["$defs"])  # nor is one left that nothing refers to


def test_every_key_of_a_sweep(schema: dict[str, Any]) -> None:
    assert set(schema["properties"]) == set(SweepSpec.model_fields)
    assert set(schema["required"]) == {"name", "dataset", "backbone", "methods"}
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_unknown_keys_are_refused(schema: dict[str, Any]) -> None:
    objects = [part for part in inside(schema) if part.get("type") == "object" and "properties" in part]
    assert objects
    assert all(part["additionalProperties"] is False for part in objects)


def test_every_method_has_its_settings(schema: dict[str, Any]) -> None:
    names, *entries = schema["properties"]["methods"]["items"]["anyOf"]
    assert names == {"enum": list(METHODS)}
    for name, entry in zip(METHODS, entries, strict=True):
        settings = schema["$defs"][entry["$ref"].removeprefix("#/$defs/")]
        assert settings["properties"]["name"]["const"] == name
        assert {"backbone", "pretrain", "views"} <= set(settings["properties"])
        assert settings["required"] == ["name"]


def test_a_name_alone_is_enough(schema: dict[str, Any]) -> None:
    assert {"type": "string"} in schema["properties"]["dataset"]["anyOf"]
    assert {"type": "string"} in schema["properties"]["backbone"]["anyOf"]
    assert {"enum": list(EVALUATIONS)} in schema["properties"]["evaluate"]["items"]["anyOf"]
    for method in ("SimCLRConfig", "MAEConfig"):
        assert {"type": "string"} in schema["$defs"][method]["properties"]["backbone"]["anyOf"]

"""The JSON Schema of a sweep file, with every method's own settings."""

from typing import Any

from ...datasets.config import DatasetConfig
from ...evaluation.registry import EVALUATIONS, search_metrics
from ...methods import METHODS, load_config_class
from ...methods.config import BackboneConfig, PretrainConfig
from .models import SweepSpec

REF = "#/$defs/{model}"


def sweep_schema() -> dict[str, Any]:
    """Draft 2020-12, as pydantic makes it; a method is its name, or a mapping with what differs from its paper."""
    schema = SweepSpec.model_json_schema(ref_template=REF)
    definitions: dict[str, Any] = schema["$defs"]
    definitions.pop("MethodEntry", None)
    backbone = {"anyOf": [{"type": "string"}, {"$ref": REF.format(model=BackboneConfig.__name__)}]}
    entries: list[dict[str, Any]] = [{"enum": list(METHODS)}]
    for name in METHODS:
        config = load_config_class(name)
        entry = config.model_json_schema(ref_template=REF)
        definitions.update(entry.pop("$defs", {}))
        entry["required"] = ["name"]
        entry["description"] = config.paper
        entry["properties"] |= {"backbone": backbone, "pretrain": {"$ref": REF.format(model=PretrainConfig.__name__)}}
        definitions[config.__name__] = entry
        entries.append({"$ref": REF.format(model=config.__name__)})
    schema["properties"]["methods"]["items"] = {"anyOf": entries}
    dataset = {"anyOf": [{"type": "string"}, {"$ref": REF.format(model=DatasetConfig.__name__)}]}
    schema["properties"] |= {"dataset": dataset, "backbone": backbone}
    schema["properties"]["evaluate"]["items"] = {"anyOf": _evaluations(definitions)}
    definitions["SearchConfig"]["properties"]["metric"]["enum"] = search_metrics()
    return schema | {"title": "ssl-sweep", "$schema": "https://json-schema.org/draft/2020-12/schema"}


def _evaluations(definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """Every evaluation by its name, or as a mapping with its own settings, which are added to the definitions."""
    definitions.pop("EvaluationConfig", None)
    entries: list[dict[str, Any]] = [{"enum": list(EVALUATIONS)}]
    for evaluation in EVALUATIONS.values():
        entry = evaluation.config.model_json_schema(ref_template=REF)
        definitions.update(entry.pop("$defs", {}))
        entry["required"] = ["name"]
        definitions[evaluation.config.__name__] = entry
        entries.append({"$ref": REF.format(model=evaluation.config.__name__)})
    return entries

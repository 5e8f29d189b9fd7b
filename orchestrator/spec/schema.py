"""The JSON Schema of a sweep file, with every method's own settings."""

from typing import Any

from ...datasets.config import DatasetConfig
from ...evaluation.config import EVALUATIONS
from ...methods import METHODS
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
        config = METHODS[name]
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
    evaluations = schema["properties"]["evaluate"]["items"]
    schema["properties"]["evaluate"]["items"] = {"anyOf": [{"enum": list(EVALUATIONS)}, evaluations]}
    return schema | {"title": "ssl-sweep", "$schema": "https://json-schema.org/draft/2020-12/schema"}

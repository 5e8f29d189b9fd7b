"""The JSON Schema of a sweep file, with every method's own settings."""

from typing import Any

from ..methods import METHODS, load_config_class
from ..methods.config import BackboneConfig, PretrainConfig
from .spec import SweepSpec

REF = "#/$defs/{model}"


def sweep_schema() -> dict[str, Any]:
    """Draft 2020-12, as pydantic makes it; a method is its name, or a mapping with what differs from its paper."""
    schema = SweepSpec.model_json_schema(ref_template=REF)
    definitions: dict[str, Any] = schema["$defs"]
    definitions.pop("MethodEntry", None)
    entries: list[dict[str, Any]] = [{"enum": list(METHODS)}]
    for name in METHODS:
        config = load_config_class(name)
        entry = config.model_json_schema(ref_template=REF)
        definitions.update(entry.pop("$defs", {}))
        entry["required"] = ["name"]
        entry["description"] = config.paper
        for key, model in (("backbone", BackboneConfig), ("pretrain", PretrainConfig)):
            entry["properties"][key] = {"$ref": REF.format(model=model.__name__)}
        definitions[config.__name__] = entry
        entries.append({"$ref": REF.format(model=config.__name__)})
    schema["properties"]["methods"]["items"] = {"anyOf": entries}
    short = {"type": "string"}
    for key, model in (("dataset", "DatasetConfig"), ("backbone", "BackboneConfig")):
        schema["properties"][key] = {"anyOf": [short, {"$ref": REF.format(model=model)}]}
    evaluations = schema["properties"]["evaluate"]["items"]
    schema["properties"]["evaluate"]["items"] = {"anyOf": [{"enum": ["knn", "linear", "finetune"]}, evaluations]}
    return schema | {"title": "ssl-sweep", "$schema": "https://json-schema.org/draft/2020-12/schema"}

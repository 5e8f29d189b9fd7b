"""The JSON Schema of a sweep file, with every method's own settings."""

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import models_json_schema

from ...datasets.config import DatasetConfig
from ...evaluation.registry import EVALUATIONS, search_metrics
from ...methods import METHODS
from ...methods.config import BackboneConfig, PretrainConfig
from ...methods.weights_config import WeightsConfig
from .models import ShapeConfig, SweepSpec
from .search import ALGORITHMS, COSTS

REF = "#/$defs/{model}"


def sweep_schema() -> Mapping[str, object]:
    """Draft 2020-12, as pydantic makes it; a method is its name, or a mapping with what differs from its paper."""
    methods, evaluations = dict(METHODS), dict(EVALUATIONS)
    # in one call, which keeps apart what different packages give the same name
    named = (*methods.values(), *(evaluation.config for evaluation in evaluations.values()))
    models = (SweepSpec, PretrainConfig, BackboneConfig, WeightsConfig, DatasetConfig, ShapeConfig, *named)
    refs, together = models_json_schema([(model, "validation") for model in models], ref_template=REF)
    definitions: dict[str, Any] = together["$defs"]
    schema = definitions.pop(_key(refs[SweepSpec, "validation"]))
    definitions.pop("MethodEntry", None)
    backbone = {"anyOf": [{"type": "string"}, refs[BackboneConfig, "validation"]]}
    weights = {"anyOf": [{"type": "string"}, refs[WeightsConfig, "validation"]]}
    definitions[_key(refs[BackboneConfig, "validation"])]["properties"]["weights"] |= weights
    entries: list[dict[str, Any]] = [{"enum": list(methods)}]
    for config in methods.values():
        ref = refs[config, "validation"]
        entry = definitions[_key(ref)]
        entry["required"] = ["name"]
        entry["description"] = config.paper
        entry["properties"] |= {
            "backbone": backbone,
            "weights": weights,
            "pretrain": refs[PretrainConfig, "validation"],
            "resources": refs[ShapeConfig, "validation"],
        }
        entries.append(ref)
    schema["properties"]["methods"]["items"] = {"anyOf": entries}
    dataset = {"anyOf": [{"type": "string"}, refs[DatasetConfig, "validation"]]}
    schema["properties"] |= {"dataset": dataset, "backbone": backbone}
    definitions.pop("EvaluationConfig", None)
    listed: list[dict[str, Any]] = [{"enum": list(evaluations)}]
    for evaluation in evaluations.values():
        ref = refs[evaluation.config, "validation"]
        definitions[_key(ref)]["required"] = ["name"]
        listed.append(ref)
    schema["properties"]["evaluate"]["items"] = {"anyOf": listed}
    search = definitions["SearchConfig"]["properties"]
    search["algorithm"]["enum"] = list(ALGORITHMS)
    mains = sorted({metric.partition("/")[2] for metric in search_metrics()})
    of_a_name = {"type": "string", "pattern": f"^[A-Za-z0-9][A-Za-z0-9._-]*/({'|'.join(mains)})$"}  # as `as` gives it
    main = {"anyOf": [{"enum": search_metrics()}, of_a_name]}
    several = {"type": "array", "items": {"anyOf": [{"enum": [*search_metrics(), *COSTS]}, of_a_name]}}
    search["metric"]["anyOf"] = [main, several]
    search["limits"]["propertyNames"] = {"enum": list(COSTS)}
    head = {"title": "ssl-sweep", "$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {"$defs": definitions} | schema | head


def _key(ref: dict[str, Any]) -> str:
    """The definition that a reference is to."""
    return str(ref["$ref"]).removeprefix(REF.format(model=""))

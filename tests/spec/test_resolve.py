"""Good sweeps: what they say, where unset values come from, and which trials come of them."""

from pathlib import Path
from typing import Any

import pytest
from ssl_sweep.orchestrator.spec import recipes as recipes
from ssl_sweep.orchestrator.spec.errors import SpecError
from ssl_sweep.orchestrator.spec.expand import expand, groups, resolve
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.spec.models import ResourcesConfig, SearchConfig, ShapeConfig, SweepSpec, TrialSpec

HEAD = "name: good\ndataset: digits\nbackbone: resnet18-cifar\n"
SKETCH = Path(__file__).with_name("sketch.yaml")
RECIPE = """\
pretrain: {epochs: 7, batch_size: 128, optimizer: {name: sgd, lr: 0.06, momentum: 0.8}}
methods:
  byol: {momentum: 0.9, hidden_dim: 1024, pretrain: {epochs: 9}}
  dino: {views: {local_views: []}}
"""


def read(text: str, folder: Path) -> tuple[SweepSpec, list[TrialSpec]]:
    path = folder / "sweep.yaml"
    path.write_text(text)
    spec, document = load_spec(path)
    return spec, expand(spec, document)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe `lightly` for the digits."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "lightly-digits.yaml").write_text(RECIPE)
    monkeypatch.setattr(recipes, "SWEEPS", tmp_path)


def test_every_key() -> None:
    spec, document = load_spec(SKETCH)
    assert set(document.data) == set(SweepSpec.model_fields)
    assert set(document.data["resources"]) == set(ResourcesConfig.model_fields)
    assert set(document.data["search"]) == set(SearchConfig.model_fields) - {"population"}  # of another algorithm
    assert spec.dataset.path == str(SKETCH.parent / "data/cifar10")
    trials = expand(spec, document)
    assert len(trials) == (2 + 2 * 2 + 2 * 2) * 3  # simclr has no momentum, so that axis leaves it as it is
    assert {trial.pretrain.batch_size for trial in trials} == {128, 512}
    assert {trial.recipe for trial in trials} == {"lightly"}


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 0.001), ("1E+2", 100.0), ("1", 1), (".5", 0.5), ("0x10", 16), ("010", 10), ("+2", 2), ("1.", 1.0)],
)
def test_numbers_are_those_of_yaml_1_2(text: str, value: float, tmp_path: Path) -> None:
    _, (trial,) = read(f"{HEAD}methods: [simclr]\npretrain: {{optimizer: {{lr: {text}}}}}\n", tmp_path)
    assert trial.pretrain.optimizer.lr == value


@pytest.mark.parametrize(
    "text", ["no", "on", "YES", "off", "1_000", "12:30", "2024-01-01", "0b1", "1e", "'5'", "!!str 5"]
)
def test_all_else_is_text(text: str, tmp_path: Path) -> None:
    spec, _ = read(f"{HEAD}methods: [simclr]\nstorage: {text}\n", tmp_path)
    assert spec.storage == str(tmp_path / text.removeprefix("!!str ").strip("'"))


@pytest.mark.parametrize("text", ["no", "on", "YES", "off"])
def test_yes_and_no_are_not_true_and_false(text: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=f"got '{text}'; must be true or false"):
        read(f"{HEAD}methods: [simclr]\nresources: {{compile: {text}}}\n", tmp_path)


def test_paper_defaults_are_under_all(tmp_path: Path) -> None:
    _, (trial,) = read(f"{HEAD}methods: [byol]\n", tmp_path)
    config = type(trial.method)
    assert trial.method == config.model_validate({})
    assert trial.pretrain == config.pretrain


@pytest.mark.usefixtures("recipe")
def test_the_sweep_goes_before_the_recipe_and_the_recipe_before_the_paper(tmp_path: Path) -> None:
    text = f"{HEAD}recipe: lightly\nmethods: [simclr, {{name: byol, momentum: 0.5}}]\npretrain: {{batch_size: 64}}\n"
    _, (simclr, byol) = read(text, tmp_path)
    assert byol.method.model_dump(include={"momentum", "hidden_dim", "output_dim"}) == {
        "momentum": 0.5,  # the sweep's
        "hidden_dim": 1024,  # the recipe's
        "output_dim": 256,  # the paper's
    }
    assert (simclr.pretrain.epochs, byol.pretrain.epochs) == (7, 9)  # the recipe's own for the method goes first
    assert (simclr.pretrain.batch_size, byol.pretrain.batch_size) == (64, 64)
    assert simclr.pretrain.schedule.warmup_epochs == 10  # the paper's


@pytest.mark.usefixtures("recipe")
def test_an_optimizer_of_another_name_replaces_the_whole(tmp_path: Path) -> None:
    head = f"{HEAD}methods: [simclr]\n"
    _, (paper,) = read(f"{head}pretrain: {{optimizer: {{lr: 0.5}}}}\n", tmp_path)
    assert (paper.pretrain.optimizer.name, paper.pretrain.optimizer.weight_decay) == ("lars", 1e-6)
    _, (other,) = read(f"{head}pretrain: {{optimizer: {{name: adamw, lr: 0.5}}}}\n", tmp_path)
    assert (other.pretrain.optimizer.name, other.pretrain.optimizer.weight_decay) == ("adamw", 1e-4)
    _, (of_recipe,) = read(f"{head}recipe: lightly\npretrain: {{optimizer: {{lr: 0.5}}}}\n", tmp_path)
    optimizer = of_recipe.pretrain.optimizer
    assert (optimizer.name, optimizer.lr, optimizer.momentum, optimizer.weight_decay) == ("sgd", 0.5, 0.8, 1e-4)


@pytest.mark.usefixtures("recipe")
def test_a_part_of_nested_settings(tmp_path: Path) -> None:
    text = f"{HEAD}methods: [dino]\n"
    _, (paper,) = read(text, tmp_path)
    _, (changed,) = read(f"{text}recipe: lightly\n", tmp_path)
    assert paper.method.views.local_views
    assert not changed.method.views.local_views
    assert changed.method.views.global_views == paper.method.views.global_views


def test_what_differs_for_one_method(tmp_path: Path) -> None:
    text = f"""{HEAD}pretrain: {{epochs: 5, batch_size: 64}}
methods:
  - simclr
  - {{name: mae, backbone: {{name: vit_tiny_patch16_224, options: {{depth: 2}}}}, pretrain: {{epochs: 8}}}}
"""
    _, (simclr, mae) = read(text, tmp_path)
    assert (simclr.backbone.name, mae.backbone.name) == ("resnet18-cifar", "vit_tiny_patch16_224")
    assert mae.backbone.options == {"depth": 2}
    assert (simclr.pretrain.epochs, mae.pretrain.epochs) == (5, 8)
    assert (simclr.pretrain.batch_size, mae.pretrain.batch_size) == (64, 64)
    assert [item.protocol for item in simclr.evaluate] == ["knn/lightly@1", "linear/simclr@1", "finetune/simclr@1"]
    assert [item.protocol for item in mae.evaluate] == ["knn/lightly-vit@1", "linear/mae@1", "finetune/mae@2"]


GRIDS: list[tuple[str, int]] = [
    ("{}", 2),
    ("{pretrain.batch_size: [128, 256]}", 4),
    ("{pretrain.batch_size: [128, 256], pretrain.optimizer.lr: [0.1, 0.2, 0.3]}", 12),
    ("{method.temperature: [0.1, 0.2, 0.3]}", 4),  # of SimCLR alone
    ("{method.temperature: [0.1, 0.2], method.momentum: [0.9, 0.99, 0.999]}", 5),
    ("{backbone: [resnet18-cifar, {name: vit_tiny_patch16_224, options: {depth: 1}}]}", 4),
    ("{backbone.options.zero_init_last: [true, false]}", 4),
    ("{dataset.image_size: [16, 32], dataset.train_images: [100]}", 4),
    ("{dataset: [digits, {name: cifar10, path: x}, some/folder]}", 6),
    ("{pretrain.optimizer: [{name: sgd, lr: 0.1}, {name: adamw, lr: 1e-3}]}", 4),
    ("{pretrain.optimizer.clip_norm: [null, 1.0]}", 4),
]


@pytest.mark.parametrize(("grid", "count"), GRIDS, ids=[grid for grid, _ in GRIDS])
def test_grid(grid: str, count: int, tmp_path: Path) -> None:
    spec, trials = read(f"{HEAD}methods: [simclr, byol]\nseeds: [3, 4]\ngrid: {grid}\n", tmp_path)
    assert len(groups(spec)) == count
    assert len(trials) == 2 * count
    assert [trial.seed for trial in trials] == [3, 4] * count
    assert len({trial.model_dump_json(exclude={"axes"}) for trial in trials}) == 2 * count
    for group in groups(spec):
        assert resolve(spec, group, 3) in trials


def test_a_method_takes_workers_of_its_own(tmp_path: Path) -> None:
    text = """
methods: [{name: simclr, resources: {workers: 8, gpus_per_worker: 1}}, byol]
resources: {workers: 2, cpus_per_worker: 3}
"""
    _, (simclr, byol) = read(f"{HEAD}{text}", tmp_path)
    assert simclr.resources == ShapeConfig(workers=8, gpus_per_worker=1, cpus_per_worker=3)
    assert byol.resources == ShapeConfig(workers=2, cpus_per_worker=3)
    assert "resources" not in simclr.model_dump()  # no part of its identity


def test_values_of_the_grid_arrive(tmp_path: Path) -> None:
    grid = "{pretrain.optimizer.lr: [0.3], dataset.image_size: [24], backbone: [resnet18], method.temperature: [0.7]}"
    _, (trial,) = read(f"{HEAD}methods: [simclr]\npretrain: {{optimizer: {{lr: 0.1}}}}\ngrid: {grid}\n", tmp_path)
    assert trial.pretrain.optimizer.lr == 0.3
    assert trial.image_size == trial.dataset.image_size == 24
    assert trial.backbone.name == "resnet18"
    assert trial.method.model_dump()["temperature"] == 0.7
    assert trial.axes == {
        "pretrain.optimizer.lr": 0.3,
        "dataset.image_size": 24,
        "backbone": "resnet18",
        "method.temperature": 0.7,
    }


def test_paths_in_the_grid_are_whole(tmp_path: Path) -> None:
    text = f"{HEAD}methods: [simclr]\ngrid: {{dataset: [a/b, {{name: parquet, path: c.parquet}}, d.parquet, digits]}}\n"
    _, trials = read(text, tmp_path)
    assert [trial.dataset.path for trial in trials] == [
        str(tmp_path / "a/b"),
        str(tmp_path / "c.parquet"),
        str(tmp_path / "d.parquet"),
        None,
    ]
    assert [trial.image_size for trial in trials] == [224, 224, 224, 16]


@pytest.mark.usefixtures("recipe")
def test_an_axis_changes_neither_recipe_nor_sweep(tmp_path: Path) -> None:
    """Values are shared between trials; an axis must not write into them."""
    text = f"{HEAD}methods: [simclr]\nrecipe: lightly\ngrid: {{pretrain.optimizer.lr: [0.5, 0.7]}}\n"
    for _ in range(2):
        _, trials = read(text, tmp_path)
        assert [trial.pretrain.optimizer.lr for trial in trials] == [0.5, 0.7]
    _, (trial,) = read(f"{HEAD}methods: [simclr]\nrecipe: lightly\n", tmp_path)
    assert trial.pretrain.optimizer.lr == 0.06


def test_sampled_values(tmp_path: Path) -> None:
    search = "search: {space: {pretrain.batch_size: {choice: [32, 64]}, method.temperature: {uniform: [0.1, 1]}}}\n"
    spec, _ = read(f"{HEAD}methods: [simclr, byol]\n{search}", tmp_path)
    for group in groups(spec):
        trial = resolve(spec, group, 0, {"pretrain.batch_size": 32, "method.temperature": 0.3}, holdout=True)
        assert (trial.pretrain.batch_size, trial.split) == (32, "holdout")
        assert trial.method.model_dump().get("temperature") == (0.3 if group.entry.name == "simclr" else None)


def test_a_spec_and_a_trial_survive_json() -> None:
    """So they travel to workers: lists come back where tuples were."""
    spec, document = load_spec(SKETCH)
    again = SweepSpec.model_validate(spec.model_dump(mode="json", exclude_unset=True))
    first = [resolve(spec, group, 0) for group in groups(spec)]
    assert [resolve(again, group, 0) for group in groups(again)] == first
    for trial in expand(spec, document):
        kept = trial.model_copy(update={"resources": ShapeConfig(), "features": "none"})  # they are the sweep's own
        assert TrialSpec.model_validate(trial.model_dump(mode="json")) == kept
        assert TrialSpec.model_validate_json(trial.model_dump_json()) == kept


def test_shipped_recipes_are_sound() -> None:
    found = list((recipes.SWEEPS / "recipes").glob("*.yaml"))
    assert found
    for path in found:
        recipes.load_recipe(path)


def test_a_bad_recipe(tmp_path: Path) -> None:
    path = tmp_path / "lightly-digits.yaml"
    path.write_text("pretrain: {epoch: 1}\nmethods: {simclrr: {}, byol: {momentun: 1, pretrain: {epochs: 0}}}\n")
    with pytest.raises(SpecError) as error:
        recipes.load_recipe(path)
    assert [problem.position for problem in error.value.problems] == [(1, 12), (2, 11), (2, 31), (2, 63)]


def values_of(text: str, folder: Path) -> dict[str, Any]:
    spec, _ = read(text, folder)
    return spec.model_dump()


def test_a_name_alone_is_a_mapping(tmp_path: Path) -> None:
    short = values_of(f"{HEAD}methods: [simclr]\nevaluate: [knn]\n", tmp_path)
    head = "name: good\ndataset: {name: digits}\nbackbone: {name: resnet18-cifar}\n"
    assert values_of(f"{head}methods: [{{name: simclr}}]\nevaluate: [{{name: knn}}]\n", tmp_path) == short

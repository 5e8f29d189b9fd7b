"""The model card of a trial's backbone: what it is, how it was trained, its scores, how to use it.

After Mitchell et al., "Model Cards for Model Reporting" (arXiv:1810.03993); the YAML at its head is what model hubs read.
"""

import json
from collections.abc import Iterable, Iterator, Sequence

from ...datasets.color import MEAN, STD
from ...evaluation.registry import declared_metrics
from ...methods import METHODS
from ..store.records import SweepResult, TrialResult
from .formats import assignments, one_line, scalar

WEIGHTS = "backbone.safetensors"


def model_card(result: SweepResult, trial: TrialResult, sha256: str) -> str:
    """The card as Markdown, with YAML at its head.

    Args:
        result: of a sweep of the trial.
        trial: one of its trials, whose pretraining is finished.
        sha256: of the weights.
    """
    name = f"{trial.title}, {trial.backbone}, {trial.dataset}"
    parts = (
        _head(trial),
        [f"# {_text(name)}", "", _summary(trial)],
        ["## Use", "", *_use(trial)],
        ["## Training", "", *_table(("", ""), _training(result, trial))],
        ["## Scores of the frozen or fine-tuned backbone", "", *_scores(trial)],
        ["## Origin", "", *_table(("", ""), _origin(result, trial, sha256))],
    )
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _head(trial: TrialResult) -> list[str]:
    tags = ["image-feature-extraction", "self-supervised", trial.method]
    return ["---", "library_name: timm", f"tags: {json.dumps(tags)}", f"datasets: {json.dumps([trial.dataset])}", "---"]


def _summary(trial: TrialResult) -> str:
    begun = "" if trial.weights is None else ", beginning with given weights"
    paper = METHODS[trial.method].paper if trial.method in METHODS else ""
    return _text(f"An image encoder, pretrained with {trial.title}{f' ({paper})' if paper else ''}{begun}.")


def _use(trial: TrialResult) -> list[str]:
    size = trial.image_size
    return [
        "```python",
        "import ssl_sweep",
        "",
        f'encoder = ssl_sweep.load_backbone("{WEIGHTS}")',
        "features = encoder(images)  # (B, encoder.dim)",
        "```",
        "",
        f"`images` are RGB, (B, 3, {size}, {size}), in [0, 1], less {MEAN}, divided by {STD}. The file's metadata say under",
        "`timm` how `timm.create_model` makes the network, and under `changes` what of it is replaced, if anything is.",
    ]


def _training(result: SweepResult, trial: TrialResult) -> Iterator[tuple[str, str]]:
    data = next((item for item in result.datasets if item.name == trial.dataset), None)
    images = "" if data is None else f", {data.train_images:,} training images"
    yield "data set", f"{trial.dataset}{images} (fingerprint {trial.dataset_fingerprint})"
    yield "backbone", trial.backbone + (f", {trial.parameters:,} parameters" if trial.parameters else "")
    yield "image size", str(trial.image_size)
    yield "epochs, batch size, seed", f"{trial.epochs}, {trial.batch_size}, {trial.seed}"
    yield "recipe", trial.recipe
    if trial.departures:
        yield "otherwise than the recipe", "; ".join(trial.departures)
    if trial.axes:
        yield "values of the sweep", assignments(trial.axes)
    for key, value in trial.trained_with.items():
        yield key, scalar(value)
    if trial.weights is not None:
        yield "began with weights of SHA-256", trial.weights


def _scores(trial: TrialResult) -> list[str]:
    rows = [
        (
            record.title,
            record.protocol + (f", with {assignments(record.changed)}" if record.changed else ""),
            ", ".join(
                metric.text(record.metrics[metric.name])
                for metric in declared_metrics(record.name, record.metrics)
                if metric.name in record.metrics
            ),
            f"{record.images:,} ({record.split})",
        )
        for record in trial.evaluations
    ]
    if not rows:
        return ["Not evaluated."]
    after = "Scores of one seed; numbers of different protocols are not comparable."
    return [*_table(("evaluation", "protocol", "score", "images"), rows), "", after]


def _origin(result: SweepResult, trial: TrialResult, sha256: str) -> Iterator[tuple[str, str]]:
    yield "trial", trial.trial_id
    yield "sweep", result.name
    yield "ssl-sweep", result.version
    if trial.pretrain is not None:
        cost = trial.pretrain.cost
        yield "trained on", f"{cost.workers} × {cost.device}, {cost.seconds / 3600:.2f} hours"
    yield from trial.environment.items()
    yield f"SHA-256 of {WEIGHTS}", sha256


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(_text(cell) if cell != '---' else cell for cell in line)} |" for line in lines]


def _text(text: str) -> str:
    """On one line, and no markup."""
    for mark in "\\|*_<`":
        text = text.replace(mark, f"\\{mark}")
    return one_line(text)

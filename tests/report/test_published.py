"""The library of published numbers against its sources, and files of a user's own."""

import json
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner
from ssl_sweep.evaluation.finetune import FINETUNE
from ssl_sweep.methods import METHODS
from ssl_sweep.orchestrator.cli.main import main
from ssl_sweep.orchestrator.published import Published, UnreadableError, library, read_published, write_published

HEAD = "method,dataset,backbone,epochs,batch_size,evaluation,value,source\n"
ROW = "simclr,cifar10,resnet18-cifar,200,512,knn,84.0,mine\n"


def figure(source: str, title: str, dataset: str, evaluation: str, metric: str = "top1", **more: object) -> float:
    wanted = {"source": source, "title": title, "dataset": dataset, "evaluation": evaluation, "metric": metric} | more
    (row,) = [row for row in library() if all(getattr(row, key) == value for key, value in wanted.items())]
    return row.value


def test_each_source_is_whole() -> None:
    """Trainings by source: a training has a figure for each evaluation and metric."""
    runs = {row.run for row in library()}
    counts = Counter((run.source, run.reference) for run in runs if run.source != "authors")
    assert counts == {
        ("Lightly", "docs benchmarks page"): 79,
        ("Lightly", "header of imagenette_benchmark.py"): 20,
        ("solo-learn", "README"): 54,
        ("stable-pretraining", "benchmarks/imagenet10/RESULTS.md"): 27,
    }


def test_figures_are_as_printed() -> None:
    """A sample, written down from the sources and not from the files of the library."""
    assert figure("Lightly", "BYOL", "cifar10", "knn", batch_size=512, epochs=800) == 91.0
    assert figure("Lightly", "SwaV", "imagenet100", "knn") == 67.8
    assert figure("Lightly", "MSN", "imagenette", "knn", epochs=800) == 82.8
    assert figure("Lightly", "DINO", "imagenet1k", "linear", "top5", backbone="vit_small_patch16_224") == 91.3
    assert figure("Lightly", "MAE", "imagenet1k", "finetune") == 81.3
    assert figure("Lightly", "SwaVQueue", "imagenette", "knn", epochs=200) == 82.7
    online = "online probe: a linear layer trained beside the backbone, on its views"
    assert figure("solo-learn", "Barlow Twins", "cifar10", "linear") == 92.10
    assert figure("solo-learn", "SupCon", "CIFAR100", "linear") == 70.38
    assert figure("solo-learn", "BYOL", "imagenet100", "linear", differs=online) == 80.16
    assert figure("solo-learn", "MAE", "imagenet1k", "finetune", "top5") == 95.50
    assert figure("stable-pretraining", "SwAV", "imagenette", "knn") == 86.4
    assert figure("stable-pretraining", "iGPT", "imagenette", "linear") == 12.8
    assert figure("authors", "Barlow Twins", "imagenet1k", "linear", "top5") == 91.0
    assert figure("authors", "iBOT", "imagenet1k", "knn", epochs=800) == 75.2
    assert figure("authors", "MoCo v3", "imagenet1k", "linear", backbone="resnet50", epochs=100) == 68.9


def test_every_row_says_where_it_is_from_and_how_it_was_made() -> None:
    for row in library():
        assert row.source and row.reference and row.date and (row.version or "arXiv" in row.reference)
        assert bool(row.protocol) != bool(row.differs)
    superseded = {row.method for row in library() if row.superseded}
    assert superseded == {"lejepa"}


def test_lightly_s_rows_have_the_protocols_that_are_the_default_for_them() -> None:
    rows = [row for row in library() if row.source == "Lightly" and row.evaluation == "finetune"]
    assert rows and all(row.protocol == FINETUNE.default_protocol(row.backbone, row.dataset) for row in rows)
    marked = {(row.dataset, row.evaluation) for row in library() if row.source == "Lightly" and row.best_epoch}
    assert ("imagenet1k", "knn") not in marked and ("cifar10", "knn") in marked


def test_settings_of_the_training_are_keys_of_sweep_files() -> None:
    known = {"pretrain.optimizer.name", "pretrain.optimizer.lr", "pretrain.optimizer.weight_decay"}
    known |= {"pretrain.schedule.warmup_epochs"}
    for row in library():
        for key in set(row.settings) - known:
            root, _, name = key.partition(".")
            assert root == "method" and name in METHODS[row.method].model_fields


def test_written_rows_are_read_back() -> None:
    assert read_published(write_published(library())) == library()


def test_a_file_needs_few_columns() -> None:
    (row,) = read_published("\ufeff" + HEAD + ROW + "\n")
    assert row.title == "simclr" and row.metric == "top1" and row.value == 84.0 and row.protocol == ""
    assert read_published((HEAD + ROW).replace("simclr", "another"))[0].method == "another"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 1, "missing columns: method, dataset, backbone, evaluation, value, source"),
        (HEAD, 1, "there are no rows below the names of the columns"),
        (HEAD.replace("epochs", "epoch") + ROW, 1, "unknown column 'epoch'; did you mean 'epochs'?"),
        (HEAD + ROW.replace("84.0", "good"), 2, "value: got 'good'; must be a number"),
        (HEAD + ROW.replace("84.0", "nan"), 2, "value: got 'nan'; input should be a finite number"),
        (HEAD + ROW.replace("200", "2.5"), 2, "epochs: got '2.5'; must be a whole number"),
        (HEAD + ROW.replace("512", "0"), 2, "batch_size: got '0'; input should be greater than 0"),
        (HEAD + ROW.replace("simclr", ""), 2, "method is empty"),
        (HEAD + ROW.replace("cifar10", "cifar01"), 2, "unknown dataset 'cifar01'; did you mean 'cifar10'?"),
        (HEAD + ROW.replace("knn", "health"), 2, "got no metric; must be one of health: "),
        (HEAD + ROW + "simclr,cifar10\n", 3, "has 2 cells; the first line names 8 columns"),
        (HEAD + ROW + ROW, 3, "the same figure as in line 2; list each once"),
        (HEAD.replace("epochs", "protocol") + ROW, 2, "unknown protocol '200' (allowed: knn/lightly@1,"),
        (HEAD.replace("epochs", "settings") + ROW, 2, "settings: got '200'; must be key=value"),
    ],
)
def test_faults_of_a_file(text: str, line: int, said: str) -> None:
    with pytest.raises(UnreadableError) as error:
        read_published(text)
    assert error.value.faults[0].line == line and error.value.faults[0].message.startswith(said)


def listed(*arguments: str) -> str:
    done = CliRunner().invoke(main, ["published", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_table_fits_80_columns_and_names_its_sources() -> None:
    assert max(map(len, listed().splitlines())) <= 80
    text = listed("--method", "lejepa", "--dataset", "imagenet1k")
    assert "lejepa  vit_small_patch16_224     100    512  finetune  78.7*†  94.5*†  3" in text
    assert "3  Lightly, docs benchmarks page (e8d317fc): finetune, finetune/lightly-vit@1" in text
    assert "† superseded: Lightly, LeJEPA: predates a fix of the loss" in text


def test_own_rows_are_listed_beside_the_library_s_and_written_as_a_file(tmp_path: Path) -> None:
    own, out = tmp_path / "mine.csv", tmp_path / "all.csv"
    own.write_text(HEAD + ROW)
    rows = json.loads(listed("--file", str(own), "--csv", str(out), "--json", "--method", "simclr"))
    assert rows[0]["source"] == "mine" and len(rows) > 10
    assert [row.model_dump(mode="json") for row in read_published(out.read_text())] == rows


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--method", "simclir"],
            "--method: no published numbers for 'simclir'; did you mean 'simclr'? (there are for: ",
        ),
        (["--method", "msn", "--dataset", "cifar10"], "with --method msn there are some for --dataset imagenette"),
        (["--file", "absent.csv"], "got 'absent.csv'; cannot be read: No such file"),
    ],
)
def test_what_there_is_not(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(main, ["published", *arguments])
    assert done.exit_code == 2 and said in done.output and done.output.count("\n") == 1


def test_a_row_is_a_record_of_a_sweep() -> None:
    row = library()[0]
    assert Published.model_validate_json(row.model_dump_json()) == row

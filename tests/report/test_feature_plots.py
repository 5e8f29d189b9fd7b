"""The map of features and the sheet of nearest neighbours in a report."""

import base64
import re
from pathlib import Path
from xml.etree import ElementTree

from made_by_hand import evaluation, sweep, trial
from ssl_sweep.orchestrator.report import write_report
from ssl_sweep.orchestrator.report.feature_plots import feature_section
from ssl_sweep.orchestrator.report.feature_views import FeatureViews
from ssl_sweep.orchestrator.report.main_table import data_tables
from ssl_sweep.orchestrator.store.records import SweepResult, TrialResult

RESULT = sweep(
    trial("simclr", 0, evaluation(80.0)),
    trial("byol", 0, evaluation(90.0)),
    trial("dino", 0, evaluation(70.0), status="failed"),
    trial("random", 0, evaluation(99.0)),
    trial("swav", 0, evaluation(60.0)),
    trial("moco", 0, evaluation(50.0)),
)


def views(images: int = 2000, classes: int = 10) -> FeatureViews:
    return FeatureViews(
        made_of="",
        places=tuple((i * 7 % 1000, i * 13 % 1000) for i in range(images)),
        labels=tuple(i % classes for i in range(images)),
        classes=tuple(f"class <{i}>" for i in range(classes)),
        sheet=base64.b64encode(b"jpeg").decode(),
        neighbours="training",
    )


def looked(result: SweepResult = RESULT) -> list[str]:
    """Methods whose features are asked for, in order."""
    seen: list[str] = []

    def look(trial: TrialResult) -> FeatureViews:
        seen.append(trial.method)
        return views()

    (data,) = data_tables(result)
    feature_section(data, "name", look)
    return seen


def test_the_best_settings_are_shown_without_baselines_and_failures() -> None:
    assert looked() == ["byol", "simclr", "swav"]
    assert looked(sweep(trial("random", 0, evaluation(99.0)))) == []


def test_a_map_is_small_and_names_its_classes() -> None:
    (data,) = data_tables(RESULT)
    section = feature_section(data, "name", lambda _: views(classes=20))
    for drawing in section.maps.drawings:
        assert len(drawing.svg) < 40_000
        root = ElementTree.fromstring(drawing.svg)
        texts = [element.text for element in root.iter() if element.tag.endswith("text")]
        assert texts[1:] == [f"class <{i}>" for i in range(20)]
        dots = [path.get("d", "").count("h0") for path in root.iter() if path.tag.endswith("path")]
        assert sum(dots) == 2000 + 20


def test_of_many_classes_twenty_have_a_colour() -> None:
    (data,) = data_tables(RESULT)
    svg = feature_section(data, "name", lambda _: views(classes=100)).maps.drawings[0].svg
    assert "80 other classes" in svg and svg.count("<text ") == 22


def test_the_report_has_maps_and_sheets(tmp_path: Path) -> None:
    write_report(RESULT, tmp_path, look=lambda _: views())
    page, text = ((tmp_path / name).read_text() for name in ("report.html", "report.md"))
    assert page.count("data:image/jpeg;base64,anBlZw==") == 3 and "Nearest neighbours" in page
    assert "(plots/d1-features.svg)" in text and (tmp_path / "views" / "d1-neighbours-1.jpg").read_bytes() == b"jpeg"
    assert ElementTree.parse(tmp_path / "plots" / "d1-features.svg")
    assert "2000 test images" in page
    write_report(RESULT, tmp_path)
    assert not re.search("Map of test features|Nearest neighbours", (tmp_path / "report.html").read_text())
    assert not (tmp_path / "views" / "d1-neighbours-1.jpg").exists()


def test_what_is_not_shown_is_said(tmp_path: Path) -> None:
    def look(trial: TrialResult) -> FeatureViews | str:
        if trial.method == "byol":
            return "its features are not kept"
        return FeatureViews(made_of="", no_map="all its features are alike", no_sheet="its images have no labels")

    write_report(RESULT, tmp_path, look=look)
    for name in ("report.html", "report.md"):
        text = (tmp_path / name).read_text()
        assert "No map of features of BYOL: its features are not kept." in text
        assert "No map of features of SimCLR: all its features are alike." in text
        assert "No nearest neighbours of SimCLR: its images have no labels." in text

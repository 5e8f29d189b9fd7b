"""A share of the labels: every class has some if they suffice, and no class is favoured."""

import numpy as np
import pytest
from ssl_sweep.datasets.stratify import labelled_counts, labelled_rows, stratified_rows


def test_every_class_has_an_image_if_there_are_enough() -> None:
    assert labelled_counts(np.array([900, 50, 50]), 10, 0).tolist() == [8, 1, 1]
    assert labelled_counts(np.array([990, 5, 5]), 10, 0).tolist() == [8, 1, 1]
    assert labelled_counts(np.array([990, 0, 10]), 2, 0).tolist() == [1, 0, 1]  # a class without images has none


def test_each_class_has_its_share_to_within_one_image() -> None:
    counts = np.array([37, 211, 80, 12])
    found = labelled_counts(counts, 50, 3)
    assert found.sum() == 50 and (abs(found - counts * 50 / counts.sum()) < 1).all()


@pytest.mark.parametrize("count", [3, 13])
def test_ties_favour_no_class(count: int) -> None:
    """Which classes have one more is drawn, and the first ones are not always among them."""
    counts = np.full(10, 20)
    drawn = [labelled_counts(counts, count, salt) for salt in range(40)]
    assert all(one.sum() == count and one.max() - one.min() == 1 for one in drawn)
    mean = np.mean(drawn, axis=0)
    assert (abs(mean - count / 10) < 0.3).all()


def test_rows_are_of_these_counts_and_a_function_of_the_salt() -> None:
    labels = np.repeat(np.arange(10), 20)[::-1].copy()
    rows = labelled_rows(labels, 13, 4)
    assert (np.bincount(labels[rows], minlength=10) == labelled_counts(np.full(10, 20), 13, 4)).all()
    assert rows.tolist() == labelled_rows(labels, 13, 4).tolist() == sorted(rows)


def test_other_parts_of_a_data_set_are_as_they_were() -> None:
    """Of a holdout and of `train_images`, ties go to the first classes."""
    labels = np.tile(np.arange(4), 6)
    assert stratified_rows(labels, 6, 3).tolist() == OLD


OLD = [9, 11, 12, 13, 14, 20]

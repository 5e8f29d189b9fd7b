"""Places of features in the plane, and their nearest neighbours."""

import numpy as np
from ssl_sweep.evaluation.feature_map import drawn_rows, nearest, one_of_each_class, plane, unit

RNG = np.random.default_rng(0)


def test_groups_of_features_are_groups_on_the_map() -> None:
    centres = 10 * RNG.normal(size=(3, 60))
    labels = np.repeat(np.arange(3), 40)
    features = unit(centres[labels] + RNG.normal(size=(120, 60)))
    places = plane(features)
    assert places is not None and places.min() == 0 and places.max() == 1000
    middles = np.stack([places[labels == one].mean(axis=0) for one in range(3)])
    nearest_middle = np.linalg.norm(places[:, None] - middles, axis=2).argmin(axis=1)
    assert (nearest_middle == labels).all()
    assert np.array_equal(places, plane(features)), "the same for the same features"


def test_features_that_are_all_alike_have_no_map() -> None:
    assert plane(unit(np.ones((60, 8)) + 1e-7 * RNG.normal(size=(60, 8)))) is None


def test_neighbours_are_those_of_a_plain_search() -> None:
    bank, queries = unit(RNG.normal(size=(50, 8))), unit(RNG.normal(size=(5, 8)))
    expected = np.argsort(-(queries @ bank.T), axis=1)[:, :6]
    assert np.array_equal(nearest(queries, [bank[:20], bank[20:23], bank[23:]], 6), expected)


def test_an_image_is_no_neighbour_of_its_own() -> None:
    bank = unit(RNG.normal(size=(30, 8)))
    rows = np.array([3, 17])
    found = nearest(bank[rows], [bank[:10], bank[10:]], 4, itself=rows)
    assert 3 not in found[0] and 17 not in found[1]
    assert nearest(bank[rows], [bank[:2]], 4).shape == (2, 2), "of fewer features, fewer"


def test_one_image_of_each_of_some_classes() -> None:
    labels = np.array([5, -1, 5, 7, 9, 9, 7, 11])
    rows = one_of_each_class(labels, 12)
    assert sorted(labels[rows]) == [5, 7, 9, 11] and np.array_equal(rows, one_of_each_class(labels, 12))
    assert len(one_of_each_class(labels, 2)) == 2 and len(one_of_each_class(np.full(4, -1), 2)) == 0


def test_a_part_of_many_images_is_drawn() -> None:
    rows = drawn_rows(5000, 2000)
    assert len(set(rows)) == 2000 and (np.diff(rows) > 0).all()
    assert np.array_equal(drawn_rows(100, 2000), np.arange(100))

"""Rank and spread by hand."""

import math

import pytest
import torch
from ssl_sweep.evaluation.diagnostics import rankme, spread


def test_rank_of_orthogonal_features_is_their_number() -> None:
    assert rankme(torch.eye(6)) == pytest.approx(6)
    assert rankme(torch.eye(6)[:3].repeat(4, 1)) == pytest.approx(3)


def test_rank_of_two_unequal_directions() -> None:
    features = torch.tensor([[3.0, 0.0, 0.0], [0.0, 1.0, 0.0]])  # shares 3/4 and 1/4
    entropy = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    assert rankme(features) == pytest.approx(math.exp(entropy))


def test_collapsed_features() -> None:
    same = torch.ones(50, 8)
    assert rankme(same) == pytest.approx(1, abs=1e-3)
    assert spread(same) == 0
    assert math.isnan(rankme(torch.full((4, 3), math.nan)))


def test_features_that_fill_the_sphere() -> None:
    features = torch.randn(4000, 16, generator=torch.Generator().manual_seed(0))
    assert spread(features) == pytest.approx(1, abs=0.02)
    assert rankme(features) == pytest.approx(16, abs=0.1)

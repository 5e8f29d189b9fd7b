"""Sampled trials: search algorithms and early stopping."""

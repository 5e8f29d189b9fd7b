"""One trial in any process that has torch: pretraining, then evaluations."""

"""From a sweep file to its trials: models, recipes, identity, error messages."""

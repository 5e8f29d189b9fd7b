"""Configurations that are imported without torch."""

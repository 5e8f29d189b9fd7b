"""The benchmark report: tables and plots from a sweep's results."""

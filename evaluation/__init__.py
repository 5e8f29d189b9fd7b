"""A backbone and a data set in, named numbers out; one file per evaluation, all of them in `registry.py`."""

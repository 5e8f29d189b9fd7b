"""The results of a sweep as one file in a format that other programs read."""

import json
import math
from typing import Literal

from ..store.records import SweepResult
from .tidy import for_spreadsheets, tidy_table

Format = Literal["csv", "parquet", "json"]
FORMATS: tuple[Format, ...] = ("csv", "parquet", "json")


def exported(result: SweepResult, kind: Format) -> bytes:
    """The tidy table of `results.csv` and `results.parquet`; JSON is an array with an object for each row."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    table = tidy_table(result)
    if kind == "json":
        rows = [{key: _plain(value) for key, value in row.items()} for row in table.to_pylist()]
        return (json.dumps(rows, indent=2, ensure_ascii=False) + "\n").encode()
    sink = pa.BufferOutputStream()
    if kind == "csv":
        pyarrow.csv.write_csv(for_spreadsheets(table), sink)
    else:
        pyarrow.parquet.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def _plain(value: object) -> object:
    """JSON has no number that is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""Tables as CSV files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from cckeras.runs import files


def write_csv(path: Path, columns: Sequence[str], rows: list[dict]) -> None:
    """Write rows as a CSV file with the given columns, atomically."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.replace_file(path, text.getvalue().encode())

"""Some changed inputs of every reader: ``pytest tests/benchmarks/test_fuzzing.py -n 0``."""

import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np

from tests import PROJECT
from tests.benchmarks.fuzzing import losses, tables
from tests.benchmarks.fuzzing.mutations import as_csv
from tests.make.tables import load_long


def test_no_reader_fails_or_loses_values_without_a_note() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.fuzzing", "--inputs", "60"]
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_a_value_that_is_lost_without_a_note_is_found(tmp_path: Path) -> None:
    rows, layout = tables.Table("long").rows()
    path = tmp_path / "a.csv"
    path.write_bytes(as_csv(rows, Random(2)))
    array = load_long(path, features=tables.COLUMNS).load()
    found = losses.rows_of_csv(path, layout)
    assert found == rows
    expected = losses.expected_long(found, layout)
    assert len(expected) == array.size
    assert losses.lost(expected, array) == ""
    array[0, 0, 0] = np.nan
    assert losses.lost(expected, array).startswith("1 lost, 0 noted: 60 of VD-1")

"""Arrays that wait in a temporary file."""

import gc
import tempfile
from pathlib import Path

import numpy as np
import pytest

from vd_forecasting.datasets.scratch import Scratch


def test_arrays_come_back_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    random = np.random.default_rng(0)
    arrays = [random.random((3, n, 4, 2)).astype("float32") for n in (5, 1, 1000)]
    arrays.append(arrays[2][:, 7:300:2])  # not in one piece
    file = Scratch()
    kept = [file.keep(array) for array in arrays]
    del file
    gc.collect()
    for one, array in zip(kept, arrays, strict=True):
        assert one.numblocks == (3, 1, 1, 1)
        np.testing.assert_array_equal(one.compute(), array)
        np.testing.assert_array_equal(one[1, ::2].compute(), array[1, ::2])
    assert not [*tmp_path.iterdir()], "the file has no name that a killed process would leave"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_a_line_that_names_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("r+b", 0) as full:
        monkeypatch.setattr(tempfile, "TemporaryFile", lambda: full)
        with pytest.raises(OSError, match="No space left on device; set TMPDIR") as raised:
            Scratch().keep(np.zeros(10))
    assert raised.value.filename == tempfile.gettempdir()

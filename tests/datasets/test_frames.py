"""A table of any length, a part of it in memory."""

import pickle
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from kedro.io import DatasetError

from vd_forecasting.datasets import Frames, FramesDataset, frames


def rows(made: list[int], count: int) -> Iterator[pd.DataFrame]:
    for number in range(count):
        made.append(number)
        yield pd.DataFrame({"vdid": [f"={number}", None], "horizon": pd.array([number, None])})


def test_frames_are_made_one_by_one_and_anew_each_time() -> None:
    made: list[int] = []
    table = Frames.joined([Frames(partial(rows, made, 2)), Frames(partial(rows, made, 1))])
    assert made == []
    iterator = iter(table)
    next(iterator)
    assert made == [0]
    assert len(list(table)) == len(list(table)) == 3


def test_the_file_is_that_of_one_frame_and_is_read_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "ROWS_AT_ONCE", 3)
    table = Frames(partial(rows, [], 4))
    whole = pd.concat(table, ignore_index=True)
    path = tmp_path / "a.csv"
    types = {"vdid": "string", "horizon": "Int64"}
    dataset = FramesDataset(filepath=str(path), load_args={"dtype": types})
    dataset.save(table)
    assert path.read_text() == whole.to_csv(index=False).replace("=", "'=")
    loaded = pickle.loads(pickle.dumps(dataset.load()))
    assert [len(frame) for frame in loaded] == [3, 3, 2]
    pd.testing.assert_frame_equal(pd.concat(loaded, ignore_index=True), whole.astype(types))
    assert dataset.preview(1)["data"] == [["=0", 0]]
    dataset.save(dataset.load())  # parts of the file that it replaces
    assert path.read_text() == whole.to_csv(index=False).replace("=", "'=")


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    dataset = FramesDataset(filepath=str(tmp_path / "a.csv"))
    with pytest.raises(DatasetError, match=r"a\.csv: no such file; run the node that makes it$"):
        dataset.load()

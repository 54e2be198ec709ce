"""Fixtures that several test modules need."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.make.forked_runs import ForkedRuns, forked_runs


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with whole runs, so that no process is left with a long one at the end."""
    whole_runs = (Path(__file__).parent, Path(__file__).parent / "running")
    items.sort(key=lambda item: item.path.parent not in whole_runs)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """The models here are so small that a second thread only costs."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def runs() -> Iterator[ForkedRuns]:
    """Starts ``kedro`` without importing torch and the like again; not as a user does."""
    if os.name != "posix":
        pytest.skip("forks")
    with forked_runs() as started:
        yield started


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real detector data, which is not part of the project."""
    folder = os.environ.get("VD_TEST_DATA")
    if not folder:
        pytest.skip("VD_TEST_DATA does not name the folder of real detector data")
    if not Path(folder).is_dir():
        pytest.skip(f"VD_TEST_DATA names {folder}, which is not a folder")
    return Path(folder)

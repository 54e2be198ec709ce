"""What several test modules need."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests import PROJECT
from tests.make.forked_runs import ForkedRuns, forked_runs


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


@pytest.fixture
def shared_data() -> Path:
    """The folder of real detector data, which is not part of the project."""
    folder = PROJECT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real detector data is not at {folder}")
    return folder

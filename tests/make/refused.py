"""How a source says that it cannot be read."""

from collections.abc import Callable
from pathlib import Path

import pytest
from kedro.io import DatasetError


def refusal(load: Callable[..., object], path: Path, **options: object) -> str:
    """What ``load(path)`` says after the name of the file, in its one line."""
    with pytest.raises(DatasetError) as error:
        load(path, **options)
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")

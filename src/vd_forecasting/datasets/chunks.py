"""Weights of very many models, in files of some models each, which are read when asked for.

The file of a checkpoint then has, in the place of the weights of a model, the name of the file that
holds them. Such a file is named after its content, so that an index never leads to other weights
than those it was made for.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from kedro.io import DatasetError

from vd_forecasting.datasets.places import Place

MODELS_PER_FILE = 64

Weights = Mapping[str, Any]
"""A state dict by model."""


class OnDemand(Weights):
    """The weights of models, each loaded when it is asked for and not kept."""

    def __init__(self, models: Iterable[str], load: Callable[[str], Any]) -> None:
        self._models = dict.fromkeys(models)
        self._load = load

    def __getitem__(self, model: str) -> Any:
        if model not in self._models:
            raise KeyError(model)
        return self._load(model)

    def __iter__(self) -> Iterator[str]:
        return iter(self._models)

    def __len__(self) -> int:
        return len(self._models)


def write_chunks(
    weights: Weights, folder: Place, write: Callable[[Weights, Place], None]
) -> Weights | dict[str, str]:
    """Write the weights of more than a file's models; returns the file names by model, or the
    weights if they are fewer."""
    if len(weights) <= MODELS_PER_FILE:
        return weights
    models, names = [*weights], dict[str, str]()
    for first in range(0, len(models), MODELS_PER_FILE):
        few = {model: weights[model] for model in models[first : first + MODELS_PER_FILE]}
        name = f"{first // MODELS_PER_FILE:04d}-{_digest(few)}.pt"
        write(few, folder / name)
        names |= dict.fromkeys(few, name)
    return names


def read_chunks(
    weights: Weights, folder: Place, read: Callable[[Place], Weights]
) -> Weights | OnDemand:
    """The weights, or those that :func:`write_chunks` has put into files, of which the last one
    read is kept."""
    if not all(isinstance(name, str) for name in weights.values()):
        return weights

    @lru_cache(maxsize=1)
    def read_last(file: Place) -> Weights:
        held = read(file)
        if not all(isinstance(one, dict) for one in held.values()) or (
            _digest(held) != file.name.rpartition("-")[2].removesuffix(".pt")
        ):
            raise DatasetError(f"{file}: its weights were altered; train again")
        return held

    def load(model: str) -> Any:
        file = folder / weights[model]
        if model not in (held := read_last(file)):
            raise DatasetError(f"{file}: holds no weights of {model}; train again")
        return held[model]

    return OnDemand(weights, load)


def remove_others(folder: Place, used: Collection[str]) -> None:
    """Remove the files that are not among those ``used``."""
    for file in folder.glob("*.pt"):
        if file.name not in used:
            file.unlink(missing_ok=True)


def _digest(weights: Weights) -> str:
    """Of names, types, shapes and values."""
    digest = blake2b(digest_size=8)
    for model, of_model in weights.items():
        for name, tensor in of_model.items():
            digest.update(f"{model} {name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()

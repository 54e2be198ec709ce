"""Records of the project as JSON files."""

from typing import Any

from kedro.io import DatasetError
from kedro.utils import load_obj
from pydantic import BaseModel, ValidationError

from vd_forecasting.datasets.atomic import AtomicJSONDataset
from vd_forecasting.running.kedro_private import local_file


class RecordDataset(AtomicJSONDataset):
    """A record of :mod:`vd_forecasting.artefacts`, a pydantic model, as a JSON file.

    Example::

        cost:
          type: vd_forecasting.datasets.RecordDataset
          filepath: data/06_models/cost.json
          holds: vd_forecasting.artefacts.Cost

    ``holds`` is the dotted name of the model; all else is as for kedro-datasets' JSONDataset.
    """

    def __init__(self, *, holds: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._holds = holds

    def load(self) -> BaseModel:
        model: type[BaseModel] = load_obj(self._holds)
        try:
            return model.model_validate(super().load())
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise DatasetError(
                f"{local_file(self)}: not a {model.__name__} of this version ({where}: "
                f"{first['msg']}); delete it and run the training that makes it again"
            ) from error

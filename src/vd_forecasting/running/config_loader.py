"""Reads ``conf/``: base, then the environment, then what is yours alone.

``conf/local`` holds in every environment but ``base``, which is read alone. One thing is the other
way round: where the environment names a global itself, such as the detector file that it is about,
``conf/local/globals.yml`` does not replace it, and one line says so.

Where a block says ``tuned: true``, the settings that a search found take the place of its own, but
not of those of ``--params``.

A command loads the configuration more than once, and reads the files once for as long as they are
as they were.
"""

import logging
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from kedro.config import MissingConfigException, OmegaConfigLoader
from kedro.utils import find_kedro_project
from omegaconf import OmegaConf

from vd_forecasting.artefacts import Tuned
from vd_forecasting.datasets.places import place
from vd_forecasting.running.config_files import check_environments, stamps
from vd_forecasting.running.kedro_private import environment_folder
from vd_forecasting.running.tuned_settings import with_tuned
from vd_forecasting.wording import first_line, nearest

logger = logging.getLogger(__name__)
_warn_once = cache(logger.warning)  # a command may load the configuration more than once

LOCAL = "local"
TUNED = "tune_{experiment}.tuned"
"""Entry of the catalog."""


class ConfigLoader(OmegaConfigLoader):
    """Kedro's loader, with ``conf/local`` on top of every environment."""

    _last: ClassVar[tuple[Any, dict[str, Any]]] = (None, {})
    """What decided what the last loader had read, and what that was, by kind."""

    def __init__(
        self, conf_source: str | Path, env: str | None = None, *arguments: Any, **settings: Any
    ) -> None:
        conf = Path(conf_source)
        check_folder(conf)
        self._loaded: dict[str, Any] = {}
        if conf.is_dir():  # not an archive
            if env and not (conf / env).is_dir():
                raise ValueError(f"there is no environment {env!r}; {_those_there(conf, env)}")
            environments = dict.fromkeys([settings["base_env"], env or LOCAL, LOCAL])
            decides = (Path.cwd(), conf, env, repr(settings), stamps(conf, environments))
            if decides != ConfigLoader._last[0]:
                check_environments(conf, environments)
                ConfigLoader._last = (decides, {})
            self._loaded = ConfigLoader._last[1]
        super().__init__(conf_source, env, *arguments, **settings)

    def __getitem__(self, key: str) -> Any:
        """Everything of one kind, such as ``parameters``, as a dict."""
        if key in self.data or key == "credentials":  # which may lie in environment variables
            return self._load(key)
        if key not in self._loaded:
            self._loaded[key] = self._load(key)
        loaded = deepcopy(self._loaded[key])
        if key == "parameters":
            return with_tuned(loaded, self.runtime_params or {}, self._found_by_search)
        return loaded

    def _found_by_search(self, experiment: str) -> dict[str, Any] | None:
        """The record of a search, from where the catalog has it; None if there is none."""
        path = str(self["catalog"][TUNED]["filepath"]).format(experiment=experiment)
        file = place(path)
        if isinstance(file, Path):  # relative to the project, as everything in the catalog
            file = (find_kedro_project(Path.cwd()) or Path.cwd()) / file
        if not file.is_file():
            return None
        try:
            return Tuned.model_validate_json(file.read_text("utf-8")).model_dump(mode="json")
        except ValueError as error:
            raise ValueError(
                f"{path}: not the record of a search ({first_line(error)}); delete it, then "
                f"kedro run --namespace tune_{experiment}"
            ) from error

    def _load(self, key: str) -> Any:
        if key in self.data or (self.env or LOCAL) in (LOCAL, self.base_env):
            return super().__getitem__(key)
        local = self._read(LOCAL, key)
        try:
            shared = super().__getitem__(key)
        except MissingConfigException:
            if not local:
                raise
            return local
        if key == "globals":
            for name, value in self._read(str(self.env), key).items():
                if local.pop(name, value) != value:
                    _warn_once(
                        f"conf/{LOCAL}/globals.yml: {name} is ignored, "
                        f"as conf/{self.env}/globals.yml sets it"
                    )
        if self.merge_strategy.get(key) == "soft":
            return OmegaConf.to_container(OmegaConf.unsafe_merge(shared, local))
        return {**shared, **local}

    def _read(self, environment: str, key: str) -> Any:
        folder, patterns = environment_folder(self, environment), self.config_patterns[key]
        try:
            return self.load_and_merge_dir_config(
                folder, patterns, key, set(), key == "credentials"
            )
        except MissingConfigException:  # there is no such folder
            return {}


def _those_there(conf: Path, unknown: str) -> str:
    names = sorted(path.name for path in conf.iterdir() if path.is_dir() and path.name[0] != ".")
    close = nearest(unknown, names, similarity=0.6)
    return f"{f'did you mean {close}? ' if close else ''}{conf.name}/ has {', '.join(names)}"


def check_folder(folder: Path) -> None:
    """Check that Kedro reads no part of a folder's name as a pattern.

    Raises:
        ValueError: one line, naming the character that is in the way.
    """
    for character in "[]{}":
        if character in str(folder.absolute()):
            raise ValueError(
                f"{folder.absolute()}: Kedro cannot work below a folder with {character!r} in its "
                "name; rename the folder or move the project"
            )

"""Reads ``conf/``: base, then the environment, then what is yours alone.

``conf/local`` holds in every environment but ``base``, which is read alone. One thing is the other
way round: where the environment names a global itself, such as the detector file that it is about,
``conf/local/globals.yml`` does not replace it, and one line says so.
"""

import logging
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from kedro.config import MissingConfigException, OmegaConfigLoader
from omegaconf import OmegaConf

from vd_forecasting.datasets.limits import MOST_YAML_NODES, count_nodes
from vd_forecasting.running.config_files import check_environments
from vd_forecasting.running.kedro_private import environment_folder
from vd_forecasting.wording import nearest

logger = logging.getLogger(__name__)
_warn_once = cache(logger.warning)  # a command may load the configuration more than once

LOCAL = "local"
_MERGE = "tag:yaml.org,2002:merge"  # of "<<"


class ConfigLoader(OmegaConfigLoader):
    """Kedro's loader, with ``conf/local`` on top of every environment."""

    def __init__(
        self, conf_source: str | Path, env: str | None = None, *arguments: Any, **settings: Any
    ) -> None:
        conf = Path(conf_source)
        check_folder(conf)
        if conf.is_dir():  # not an archive
            if env and not (conf / env).is_dir():
                raise ValueError(f"there is no environment {env!r}; {_those_there(conf, env)}")
            environments = dict.fromkeys([settings["base_env"], env or LOCAL, LOCAL])
            for environment in environments:
                for path in sorted((conf / environment).rglob("*.y*ml")):
                    check_yaml(path)
            check_environments(conf, environments)
        super().__init__(conf_source, env, *arguments, **settings)

    def __getitem__(self, key: str) -> Any:
        """Everything of one kind, such as ``parameters``, as a dict."""
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


def check_yaml(path: Path) -> None:
    """Check that the aliases of a YAML file do not unfold to more than memory holds, and that its
    tags are YAML's own.

    Raises:
        ValueError: one line, naming the file and the limit, or the line and its tag.
    """
    text = path.read_text("utf-8", errors="replace")
    if "*" not in text and "!" not in text:
        return
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return  # Kedro tells
    if count_nodes(root, _parts, MOST_YAML_NODES) > MOST_YAML_NODES:
        raise ValueError(
            f"{path}: its aliases (*name) unfold to more than {MOST_YAML_NODES:,} values, the limit"
        )
    for node in _nodes(root):
        if node.tag not in {*yaml.SafeLoader.yaml_constructors, _MERGE}:
            raise ValueError(
                f"{path}: line {node.start_mark.line + 1}: the tag {node.tag!r} is not known; put "
                "the value in quotes if it begins with '!'"
            )


def _parts(node: Any) -> list[Any]:
    """The nodes that a node of YAML consists of."""
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _nodes(root: Any) -> Iterator[Any]:
    todo = [root]
    while todo:
        node = todo.pop()
        yield node
        todo += _parts(node)


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

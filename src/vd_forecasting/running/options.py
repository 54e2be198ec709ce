"""The command line and values of its options: ``--params`` and the file of ``--config``."""

import json
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vd_forecasting.running.config_files import TEXTS, compose, misread
from vd_forecasting.wording import nearest, one_line

_CLOSING = {"[": "]", "{": "}"}


def typed_command() -> str:
    """The command that this process was started with, as it may be kept and shown."""
    return without_password(" ".join([Path(sys.argv[0]).name, *map(shlex.quote, sys.argv[1:])]))


def without_password(text: str) -> str:
    """Without the user and the password of the addresses in it."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def read_params(context: click.Context, option: click.Parameter, value: Any) -> dict[str, Any]:
    """Callback of ``--params``: ``a.b=1,c=[2,3]`` as nested blocks."""
    if isinstance(value, dict):  # of a file
        return value
    try:
        return parse_params(value)
    except ValueError as error:
        raise click.ClickException(f"--{str(option.name).replace('_', '-')}: {error}") from error


def parse_params(text: str) -> dict[str, Any]:
    """The values of ``a.b=1,c=[2,3]``; what a number in YAML would change stays the text it is.

    Raises:
        ValueError: one line that says what to write.
    """
    pairs = []
    for item in split_items(text):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not key:
            raise ValueError(
                f"{item!r} is no key=value; a list stands in brackets, key=[1,2], and text with a "
                "comma in double quotes, 'key=\"a,b\"'"
            )
        pairs.append(f"{key}={_as_typed(key.rpartition('.')[2], value)}")
    try:
        return dict(OmegaConf.to_container(OmegaConf.from_dotlist(pairs), resolve=False))  # type: ignore[arg-type]
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        what = getattr(error, "problem", None) or one_line(error)
        raise ValueError(f"{text!r} cannot be read ({what}); put text in double quotes") from error


def split_items(text: str) -> Iterator[str]:
    """Split at commas that stand neither in brackets nor in quotes."""
    closing: list[str] = []
    item, before, quote = "", ",", ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'" and before in "=[{,:":  # else an apostrophe
            quote = character
        elif character in _CLOSING:
            closing.append(_CLOSING[character])
        elif closing and character == closing[-1]:
            closing.pop()
        elif character == "," and not closing:
            if item.strip():
                yield item.strip()
            item, before = "", ","
            continue
        item += character
        before = before if character.isspace() else character
    if closing or quote:
        raise ValueError(
            f"{item.strip()!r} has no closing {quote or closing[-1]}; put text in double quotes"
        )
    if item.strip():
        yield item.strip()


def _as_typed(key: str, value: str) -> str:
    """A value as YAML that stands for what was typed."""
    if value[:1] in {"", '"', "'", *_CLOSING} or value in ("null", "~"):
        return value
    tag = yaml.SafeLoader("").resolve(yaml.ScalarNode, value, (True, False))
    as_text = key in TEXTS or misread(key, value, tag)
    return json.dumps(value, ensure_ascii=False) if as_text else value


def read_config(context: click.Context, option: click.Parameter, value: Any) -> Any:
    """Callback of ``--config``: its file gives the options that are not on the command line."""
    if value:
        names = {
            name.lstrip("-").replace("-", "_"): str(one.name)
            for one in context.command.params
            for name in (str(one.name), *one.opts)
            if one.name != option.name
        }
        try:
            given = _options_of(Path(value), str(context.info_name), names)
        except ValueError as error:
            raise click.ClickException(str(error)) from error
        context.default_map = {**(context.default_map or {}), **given}
    return value


def _options_of(path: Path, command: str, names: Mapping[str, str]) -> dict[str, Any]:
    """The options in a file of ``--config``; ``names`` are theirs by what may be written."""
    compose(path, path.name)
    loaded = yaml.safe_load(path.read_text("utf-8"))
    block = loaded.get(command) if isinstance(loaded, dict) else None
    if not isinstance(block, dict):
        raise ValueError(f"{path}: has no block {command}; write {command}: and options below it")
    given = {}
    for key, value in block.items():
        name = str(key).replace("-", "_")
        if name not in names:
            raise ValueError(
                f"{path}: {command} has no option {key}; did you mean {nearest(name, names)}?"
            )
        given[names[name]] = ",".join(map(str, value)) if isinstance(value, list) else value
    return given

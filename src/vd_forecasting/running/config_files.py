"""Looks at the YAML files of ``conf/`` before they are read.

Refused, in one line with file and line: what is not YAML, what stands twice, and what YAML takes
for something else than was typed.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

from vd_forecasting.datasets.limits import MOST_YAML_NODES, count_nodes
from vd_forecasting.wording import one_line

KINDS = ("catalog", "credentials", "globals", "parameters")
"""Beginnings of the names of files, or of their folders, that are read."""

TEXTS = ("data_folder", "ingested_file", "select_vd_id", "source_file", "source_start", "vd_file")
"""Keys of text that may look like a number."""

_TAG = "tag:yaml.org,2002:"
_NUMBERS = {f"{_TAG}{kind}" for kind in ("int", "float", "bool")}
_OTHER_BASE = re.compile(r"[-+]?0[0-7_]+|.*:.*")  # octal, sexagesimal
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def check_environments(conf: Path, environments: Collection[str]) -> None:
    """Check the files of these folders of ``conf``; the first one has every block of parameters.

    Raises:
        ValueError: one line that names the file, the line and what to write.
    """
    blocks: set[str] = set()
    for environment in environments:
        found = set()
        for path, kind in sorted(_files(conf / environment)):
            checked = _File(path.relative_to(conf.parent).as_posix(), kind, blocks)
            root = compose(path, checked.name)
            if count_nodes(root, _parts, MOST_YAML_NODES) > MOST_YAML_NODES:
                raise ValueError(
                    f"{checked.name}: its aliases (*name) unfold to more than "
                    f"{MOST_YAML_NODES:,} values, the limit"
                )
            checked.check(root)
            found |= checked.found
        blocks = blocks or found


def stamps(conf: Path, environments: Iterable[str]) -> list[tuple[Path, int, int]]:
    """Path, time of the last change and size of the files that :func:`check_environments` reads."""
    found = (path for name in environments for path, _ in sorted(_files(conf / name)))
    return [(path, status.st_mtime_ns, status.st_size) for path in found if (status := path.stat())]


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    """The files of an environment that are read, and their kinds."""
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        kinds = [kind for kind in KINDS for part in parts if part.startswith(kind)]
        is_hidden = any(part.startswith(".") for part in parts)
        if kinds and path.suffix in (".yml", ".yaml", ".json") and not is_hidden and path.is_file():
            yield path, kinds[0]


def _parts(node: Any) -> list[Any]:
    """The nodes that a node consists of."""
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def compose(path: Path, name: str) -> yaml.Node | None:
    """The nodes of a YAML file, None if it is empty; a ValueError of one line if it is no YAML."""
    try:
        return yaml.compose(path.read_text("utf-8"), Loader=_Loader)
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}, line {mark.line + 1}" if mark else name
        context = f" {error.context}" if error.context else ""
        raise ValueError(f"{where}: not valid YAML ({error.problem}{context})") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"{name}: not valid YAML ({one_line(error)})") from error


def misread(key: str, text: str, tag: str) -> str:
    """What a value without quotes is for YAML, if not what was typed; "" if it is."""
    if tag not in _NUMBERS:
        return ""
    value = yaml.safe_load(text)
    is_text = key in TEXTS and str(value) != text
    return repr(value) if is_text or _OTHER_BASE.fullmatch(text) else ""


@dataclass
class _File:
    name: str
    kind: str
    blocks: Collection[str]  # dotted names of what has to be a block
    found: set[str] = field(default_factory=set)  # dotted names of its own blocks

    def check(self, root: yaml.Node | None) -> None:
        if root is not None and not isinstance(root, yaml.MappingNode):
            self.refuse(root, "holds no keys; write key: value")
        todo: list[tuple[str, Any]] = [] if root is None else [("", root)]
        seen = set()
        while todo:
            above, node = todo.pop()
            if id(node) in seen:  # an alias
                continue
            seen.add(id(node))
            if node.tag.removeprefix(_TAG).startswith("!") or "python/" in node.tag:
                self.refuse(node, f"the tag {node.tag} is not known; leave it out")
            if isinstance(node, yaml.MappingNode):
                todo += self.entries(above, node)
            elif isinstance(node, yaml.SequenceNode):
                todo += [(above, item) for item in node.value]
            elif not node.style and (is_read := misread(_last(above), node.value, node.tag)):
                self.refuse(
                    node, f'{_last(above)} {node.value} is {is_read} in YAML; write "{node.value}"'
                )

    def entries(self, above: str, node: yaml.MappingNode) -> list[tuple[str, yaml.Node]]:
        """Dotted names and values of a block whose keys are fine."""
        lines: dict[str, int] = {}
        inner = []
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.refuse(key, "a key must be text")
            if key.tag in _NUMBERS and self.kind == "parameters":
                self.refuse(key, f"the key {key.value} is not text in YAML; check its spelling")
            name = f"{above}.{key.value}" if above else key.value
            if key.value in lines:
                self.refuse(key, f"{name} stands also in line {lines[key.value]}; keep one")
            lines[key.value] = key.start_mark.line + 1
            if self.kind == "parameters" and "." in key.value:
                nested = ": {".join(key.value.split(".")) + ": ..." + "}" * key.value.count(".")
                self.refuse(key, f"{key.value} has dots, which only --params reads; write {nested}")
            is_block = name in self.blocks or (self.kind != "parameters" and not above)
            if value.tag == f"{_TAG}null" and is_block:
                self.refuse(key, f"{name} is empty; write what belongs there or delete the line")
            if isinstance(value, yaml.MappingNode) and self.kind == "parameters":
                self.found.add(name)
            inner.append((name, value))
        return inner

    def refuse(self, node: yaml.Node, problem: str) -> NoReturn:
        raise ValueError(f"{self.name}, line {node.start_mark.line + 1}: {problem}")


def _last(name: str) -> str:
    return name.rpartition(".")[2]

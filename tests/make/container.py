"""What ``docker build`` does, in a folder of this machine."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from tests import PROJECT

IMAGE = Path("/app")


@dataclass
class Stage:
    """A part of a Dockerfile, from one FROM to the next."""

    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def last(self, instruction: str) -> str:
        return [argument for word, argument in self.steps if word == instruction][-1]

    def command(self) -> list[str]:
        return list(json.loads(self.last("CMD")))


def stages() -> list[Stage]:
    """Those of the project's Dockerfile."""
    text = (PROJECT / "Dockerfile").read_text("utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    found: list[Stage] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        word, argument = line.split(maxsplit=1)
        if word == "FROM":
            base, _, name = argument.partition(" AS ")
            found.append(Stage(base, name))
        else:
            found[-1].steps.append((word, argument))
    return found


def copied(argument: str) -> tuple[list[str], str]:
    """Sources and destination of a COPY from the project; no sources if it is from a stage."""
    words = shlex.split(argument)
    *sources, destination = [word for word in words if not word.startswith("--")]
    return ([] if any(word.startswith("--from=") for word in words) else sources), destination


def ignored(path: str, patterns: Sequence[str]) -> bool:
    """Whether .dockerignore leaves the file out: the last pattern that fits decides."""
    out = False
    for pattern in patterns:
        expression = re.escape(pattern.removeprefix("!"))
        for glob, meaning in ((r"\*\*/", "(?:.*/)?"), (r"\*\*", ".*"), (r"\*", "[^/]*")):
            expression = expression.replace(glob, meaning)
        if re.fullmatch(rf"{expression}(?:/.*)?", path):
            out = not pattern.startswith("!")
    return out


def ignore_patterns(name: str) -> list[str]:
    """Lines of .dockerignore or .gitignore."""
    lines = (PROJECT / name).read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def context(source: str) -> Iterator[Path]:
    """The files below a path of the project that a COPY sees, relative to the project."""
    patterns = ignore_patterns(".dockerignore")
    if (PROJECT / source).is_file():
        yield Path(source)
    for folder, _, names in os.walk(PROJECT / source):
        for name in names:
            path = (Path(folder) / name).relative_to(PROJECT)
            if not ignored(path.as_posix(), patterns):
                yield path


@dataclass
class Build:
    """A folder with what is in the image below ``/app``."""

    folder: Path
    environment: dict[str, str]

    def add(self, stage: Stage) -> None:
        """Do what the stage does. Stages lie in one folder: environments cannot be moved."""
        for word, argument in stage.steps:
            if word == "RUN":
                self.run(["sh", "-c", argument])
            elif word in {"ENV", "ARG"}:
                pairs = (pair.partition("=") for pair in shlex.split(argument))
                self.environment |= {name: self._here(value) for name, _, value in pairs}
            elif word == "COPY":
                self._copy(*copied(argument))
            else:
                assert word in {"WORKDIR", "USER", "CMD"}, word

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """A command that must succeed, as the image would run it."""
        result = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=3600,
        )
        assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
        return result

    def _here(self, value: str) -> str:
        return (
            Template(value).safe_substitute(self.environment).replace(str(IMAGE), str(self.folder))
        )

    def _copy(self, sources: Sequence[str], destination: str) -> None:
        for source in sources:
            whole = (PROJECT / source).is_dir()
            for path in context(source):
                inside = path.relative_to(source) if whole else path.name
                target = self.folder / destination / inside
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(PROJECT / path, target)


def start(folder: Path) -> Build:
    """An empty image, whose ``python3`` is the Python that runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return Build(folder, kept | {"PATH": path})

"""All messages that pages and plots may say, and a catalogue to fill in with another language.

``python -m tests.make.messages de`` writes ``de.po`` beside the languages there are; of one that is
there it keeps what is translated.
"""

import ast
import re
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po
from jinja2.ext import babel_extract

import vd_forecasting
from vd_forecasting.language import FOLDER, catalogue_file

ROOT = Path(vd_forecasting.__file__).parent
SAYING = {"say": 0, "marked": 0, "noun": 0, "say_many": 0, "plural": 1}
"""Functions whose messages are written where they are called, and at which argument."""
COUNTED = {"noun", "plural"}
"""Those of them that take a noun, of which the plural is made."""
_JINJA = {
    "extensions": "jinja2.ext.i18n",
    **dict.fromkeys(("newstyle_gettext", "silent", "trimmed", "trim_blocks"), "true"),
}

_DATES_AND_NAMES = r'^"(Project|Report|POT|PO|Last|Language-Team|Generated).*\n'
"""What Babel puts at the head of a catalogue and Git knows better."""

Message = str | tuple[str, str]
"""A message, or the two forms of one that depends on a number."""


def messages() -> dict[Message, set[str]]:
    """Every message and the files that say it, from all code and templates of the package."""
    found: dict[Message, set[str]] = {}
    for path in sorted(ROOT.rglob("*")):
        if path.suffix in {".py", ".j2"}:
            of_file = _in_template(path) if path.suffix == ".j2" else _in_module(path)
            for message in of_file:
                found.setdefault(message, set()).add(path.relative_to(ROOT).as_posix())
    return found


def _in_module(path: Path) -> Iterator[Message]:
    """Nouns count where pages are written, not where logs are: where a module speaks languages."""
    tree = ast.parse(path.read_text("utf-8"))
    imports = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    if "vd_forecasting.language" not in imports:
        return
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = getattr(call.func, "id", getattr(call.func, "attr", ""))
        texts = [arg.value if isinstance(arg, ast.Constant) else None for arg in call.args]
        yield from _of_call(name, texts)


def _in_template(path: Path) -> Iterator[Message]:
    keywords = [*SAYING, "gettext", "ngettext"]
    with path.open("rb") as file:
        for _, name, found, _ in babel_extract(file, keywords, (), _JINJA):
            texts = [found] if isinstance(found, str) else list(found or ())
            yield from _of_call({"gettext": "say", "ngettext": "say_many"}.get(name, name), texts)


def _of_call(name: str, texts: list[Any]) -> Iterator[Message]:
    if name not in SAYING or len(texts) <= SAYING[name]:
        return
    text = texts[SAYING[name]]
    if isinstance(text, str) and text:
        if name == "say_many":
            yield text, texts[1]
        else:
            yield (f"{{number}} {text}", f"{{number}} {text}s") if name in COUNTED else text


def catalogue_of(language: str) -> Catalog:
    """The catalogue of a language as it is in its file; an empty one without a file."""
    path = catalogue_file(language)
    assert path is not None, "English has no catalogue"
    if not path.exists():
        return Catalog(language.replace("-", "_"), fuzzy=False)
    with path.open("rb") as file:
        return read_po(file)


def main(language: str) -> None:
    """Write the catalogue of a language with all messages there are, and no others."""
    before = catalogue_of(language)
    after = Catalog(before.locale, project="vd_forecasting", fuzzy=False)
    for message, files in messages().items():
        one = message if isinstance(message, str) else message[0]
        known = before.get(one)
        text = known.string if known and isinstance(known.string, tuple) == (one != message) else ""
        after.add(message, text, locations=[(file, 0) for file in sorted(files)])
    after.header_comment = f"# What pages and plots say in {language}: tests/make/messages.py."
    written = BytesIO()
    write_po(written, after, width=100, include_lineno=False)
    kept = re.sub(_DATES_AND_NAMES, "", written.getvalue().decode("utf-8"), flags=re.MULTILINE)
    (FOLDER / f"{language.replace('-', '_')}.po").write_text(kept, "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The language that pages and plots speak: English, or that of a file in ``languages/``.

Such a file, ``zh_TW.po``, is a catalogue in gettext's format: by English message, what is said in
its place. A message is a whole sentence with places in braces for what varies, since other
languages order words differently. Code says it with :func:`say`; templates say it with
``{% trans %}``, whose places are written ``%(name)s``.

English is spoken wherever nobody asks for another language. So logs, errors and the command line
are English, though they share words with pages.
"""

import gettext
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Final

ENGLISH: Final = "en"
FOLDER = Path(__file__).with_name("languages")
"""A file for every language but English, named as ``zh_TW`` for ``zh-TW``."""

_spoken: ContextVar[str] = ContextVar("spoken", default=ENGLISH)

_WIDE = "\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef"  # not Korean, which has spaces
_WIDE_MARKS = "\u3000-\u303f\uff00-\uff0f\uff1a-\uff20\uff5b-\uff65"
_CODE_OR_GAP = re.compile(
    rf"(`[^`\n]+`)|(?<=[{_WIDE}]) (?=[{_WIDE}])|(?<=[{_WIDE_MARKS}]) (?=[^|])"
    rf"|(?<=[^\s|#>*-]) (?=[{_WIDE_MARKS}])"
)
_GAP = re.compile(rf"(?<=[{_WIDE}]) (?=[{_WIDE}])")


def languages() -> list[str]:
    """Those that can be spoken: ``en``, ``zh-TW``."""
    return [ENGLISH, *(path.stem.replace("_", "-") for path in sorted(FOLDER.glob("*.po")))]


def catalogue_file(language: str) -> Path | None:
    """The file of a language; None for English, which needs none."""
    return None if language == ENGLISH else FOLDER / f"{language.replace('-', '_')}.po"


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Speak a language, here and in what is called from here."""
    before = _spoken.set(language)
    try:
        yield
    finally:
        _spoken.reset(before)


def spoken() -> str:
    """The language that is spoken now."""
    return _spoken.get()


def say(message: str, /, **values: object) -> str:
    """A message, written in English, in the language spoken; values take the places in braces."""
    return filled_in(translated(message), **values)


def say_many(one: str, many: str, number: int, /, **values: object) -> str:
    """Of two messages, or as many as the language has forms, the one that fits a number."""
    return filled_in(translated_of(one, many, number), **values)


def marked(message: str) -> str:
    """A message that is said elsewhere, marked so that it is found."""
    return message


def translated(message: str) -> str:
    """A message as the catalogue has it, its places still empty; English where it lacks it."""
    catalogue = _catalogue(spoken())
    return catalogue.gettext(message) if catalogue else message


def translated_of(one: str, many: str, number: int) -> str:
    """The same of the form that fits a number."""
    catalogue = _catalogue(spoken())
    if catalogue:
        return catalogue.ngettext(one, many, int(number))  # NumPy's would not do
    return one if number == 1 else many


def closed_up(text: str) -> str:
    """Text without the spaces that Chinese and Japanese do not write, code as it is.

    Messages have a space on either side of a place, as a number or a name in Latin letters needs
    it there; beside a wide character on both sides, or a wide mark on one, it is one too many.
    """
    return text if spoken() == ENGLISH else _CODE_OR_GAP.sub(lambda found: found[1] or "", text)


def kept_spaces(text: str) -> str:
    """Text of somebody else, such as a name, with spaces that :func:`closed_up` leaves."""
    return text if spoken() == ENGLISH else _GAP.sub("\N{NO-BREAK SPACE}", text)


def letters() -> set[str]:
    """All characters of what can be said in the language spoken; none for English."""
    path = catalogue_file(spoken())
    if path is None:
        return set()
    lines = path.read_text("utf-8").splitlines()
    return set().union(*(line for line in lines if not line.startswith("#")))


def filled_in(message: str, /, **values: object) -> str:
    """A message that is translated already, with values in its places."""
    return closed_up(message.format(**values)) if values else message


@cache
def _catalogue(language: str) -> gettext.GNUTranslations | None:
    path = catalogue_file(language)
    if path is None:
        return None
    from babel.messages.mofile import write_mo  # noqa: PLC0415  (not needed for English)
    from babel.messages.pofile import read_po  # noqa: PLC0415

    compiled = BytesIO()
    with path.open("rb") as file:
        write_mo(compiled, read_po(file))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)

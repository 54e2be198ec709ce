"""Pieces of Markdown pages."""

import re
from collections.abc import Iterable, Sequence

from vd_forecasting.language import kept_spaces
from vd_forecasting.wording import feature_name, in_one_line, listed

# A "_" within a word, as in avg_speed, has no meaning; "&" and "<" are written as HTML has them.
_MARKUP = re.compile(r"[\\`*\[\]|~]|(?<!\w)_|_(?!\w)")


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, text_columns: int = 1) -> str:
    """A table; the first ``text_columns`` columns are set left, the rest, numbers, right.

    A ``|`` in a cell is escaped, unless it is already.
    """
    rule = [":--" if column < text_columns else "--:" for column in range(len(header))]
    return "\n".join(
        "| " + " | ".join(re.sub(r"(?<!\\)\|", r"\|", cell) for cell in row) + " |"
        for row in (header, rule, *rows)
    )


def bullets(items: Iterable[str]) -> str:
    """A list, one item a line."""
    return "\n".join(f"- {item}" for item in items)


def figure(caption: str, name: str) -> str:
    """A figure of the page; see :class:`.page.Page`."""
    return f"![{caption}](figure:{name})"


def link(text: str, path: str) -> str:
    """A link; the path is relative to the page."""
    return f"[{text}]({path})"


def anchor(heading: str) -> str:
    """What a link within the page calls a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def bold(text: str) -> str:
    """Text set bold."""
    return f"**{text}**"


def plain_text(value: object) -> str:
    """Text of unknown origin on one line, without any meaning in Markdown or HTML, with its spaces
    also where the language spoken would write none."""
    text = kept_spaces(in_one_line(str(value)))
    return _MARKUP.sub(r"\\\g<0>", text).replace("&", "&amp;").replace("<", "&lt;")


def plain_list(values: Iterable[object]) -> str:
    """Several of them: ``a, b and c``."""
    return listed(map(plain_text, values))


def feature_text(name: str) -> str:
    """What a feature is called, on one line and without any meaning in Markdown."""
    return plain_text(feature_name(name))


def feature_list(names: Iterable[str]) -> str:
    """Several of them: ``a, b and c``."""
    return listed(map(feature_text, names))


def code(text: str) -> str:
    """A name as it stands in a file, whatever characters it has."""
    text = in_one_line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence} {text} {fence}" if len(fence) > 1 or not text else f"`{text}`"

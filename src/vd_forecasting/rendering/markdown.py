"""Pieces of Markdown pages."""

import re
from collections.abc import Iterable, Sequence


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


def bold(text: str) -> str:
    """Text set bold."""
    return f"**{text}**"


def plain_text(value: object) -> str:
    """Text of unknown origin on one line, harmless in a sentence and in a table's cell."""
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")


def code(text: str) -> str:
    """A name as it stands in a file, whatever characters it has."""
    text = text.replace("\n", " ")
    return f"`` {text} ``" if "`" in text else f"`{text}`"

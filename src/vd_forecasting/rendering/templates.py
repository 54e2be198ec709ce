"""Markdown pages from Jinja2 templates: ``templates/*.md.j2`` beside the module that fills them in.

A template holds the text of a page; numbers arrive in a typed view. An undefined name is an error.
Functions of :mod:`.markdown` and :mod:`vd_forecasting.wording` can be called by their names.
Paragraphs and list items may be broken into lines anywhere.
"""

import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from vd_forecasting import wording
from vd_forecasting.rendering import markdown

_MARKDOWN = (markdown.table, markdown.bullets, markdown.code, markdown.link, markdown.figure)
_WORDS = (
    wording.listed,
    wording.plural,
    wording.count,
    wording.number,
    wording.percent,
    wording.duration,
    wording.lead_time,
)


def render(package: str, template: str, **values: Any) -> str:
    """Fill in a template.

    Args:
        package: where ``templates/`` lies, such as ``__package__``.
        template: file name without ``.md.j2``.
        values: names that the template uses.

    Returns:
        Markdown, a line for each paragraph, list item and table row. Blank lines that a left-out
        part leaves behind are merged into one.
    """
    text = _environment(package).get_template(f"{template}.md.j2").render(**values)
    text = re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)
    # What begins no block of its own continues the paragraph or list item of the line before.
    text = re.sub(r"^(?![#|])(.+)\n *(?![#|!>\s]|- )", r"\1 ", text.strip(), flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", text) + "\n"


@cache
def _environment(package: str) -> Environment:
    environment = Environment(  # Markdown, not HTML: nothing to escape but names, by `code`
        loader=PackageLoader(package),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {function.__name__: function for function in (*_MARKDOWN, *_WORDS)}
    return environment

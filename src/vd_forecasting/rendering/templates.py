"""Markdown pages from Jinja2 templates: ``templates/*.md.j2`` beside the module that fills them in.

A template holds the text of a page; numbers arrive in a typed view. An undefined name is an error.
Functions of :mod:`.markdown` and :mod:`vd_forecasting.wording` can be called by their names.
"""

import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from vd_forecasting import wording
from vd_forecasting.rendering import markdown

_MARKDOWN = (
    *(markdown.table, markdown.bullets, markdown.figure),
    *(markdown.code, markdown.link, markdown.plain_text),
)
_WORDS = (
    *(wording.listed, wording.plural, wording.count, wording.number),
    *(wording.percent, wording.share, wording.duration),
)


def render(package: str, template: str, **values: Any) -> str:
    """Fill in a template.

    Args:
        package: where ``templates/`` lies, such as ``__package__``.
        template: file name without ``.md.j2``.
        values: names that the template uses.

    Returns:
        Markdown. Blank lines that a left-out part leaves behind are merged into one.
    """
    text = _environment(package).get_template(f"{template}.md.j2").render(**values)
    return re.sub(r"\n{3,}", "\n\n", text.strip()) + "\n"


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

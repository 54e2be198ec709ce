"""Markdown pages from Jinja2 templates: ``templates/*.md.j2`` beside the module that fills them in.

A template holds the text of a page; numbers arrive in a typed view. An undefined name is an error.
Functions of :mod:`.markdown` and :mod:`vd_forecasting.wording` can be called by their names, and
used as filters.
Paragraphs and list items may be broken into lines anywhere. Sentences stand in ``{% trans %}``,
which says them in the language spoken; ``{% endtrans +%}`` keeps the end of its line.
"""

import re
from functools import cache
from inspect import getmembers, isfunction
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from vd_forecasting import wording
from vd_forecasting.language import closed_up, say, translated, translated_of
from vd_forecasting.rendering import markdown
from vd_forecasting.vocabulary import name_of

_FUNCTIONS = {
    name: function
    for module in (markdown, wording)
    for name, function in getmembers(module, isfunction)
} | {"say": say, "name_of": name_of}

_BLOCK_OF_LINES = re.compile(r"[^#|]")
_CONTINUATION = re.compile(r" *(?![#|!>\s]|- )\S")


def render(package: str, template: str, **values: Any) -> str:
    """Markdown from ``templates/{template}.md.j2`` of a package, such as ``__package__``.

    It has a line for each paragraph, list item and table row. Blank lines that a left-out part
    leaves behind are merged into one.
    """
    text = _environment(package).get_template(f"{template}.md.j2").render(**values)
    lines: list[str] = []
    for line in text.strip().splitlines():
        if lines and _BLOCK_OF_LINES.match(lines[-1]) and _CONTINUATION.match(line):
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line.rstrip())
    return closed_up(re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n")


@cache
def _environment(package: str) -> Environment:
    environment = Environment(  # Markdown, not HTML: names are escaped by `code` or `plain_text`
        loader=PackageLoader(package),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    environment.policies["ext.i18n.trimmed"] = True  # a message is one line
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        translated, translated_of, newstyle=True
    )
    environment.globals |= _FUNCTIONS
    environment.filters |= _FUNCTIONS
    return environment

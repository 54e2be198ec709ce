"""A Markdown page as one HTML file: images and style inside, no script, nothing to download."""

import html
import mimetypes
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token

from vd_forecasting.language import say, spoken

# The policy is a second lock: even if something foreign got into the page, it could load nothing
# but what lies beside it.
_DOCUMENT = """\
<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
{body}</main>
</body>
</html>
"""
NO_BREAK = "\N{NO-BREAK SPACE}"
POLICY = "default-src 'none'; img-src data: 'self' file:; style-src 'unsafe-inline'"
"""Content-Security-Policy of a page."""


def render_page(markdown: str, images: Mapping[str, bytes]) -> str:
    """A page as a self-contained HTML document in the language spoken; its title is the first
    heading.

    Args:
        markdown: CommonMark with tables. HTML in it is shown as text: names of detectors come from
            files of others.
        images: image files by the path that the page has for them. An image that is not among them
            stays a reference to its path.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    for opening, content, closing in zip(tokens, tokens[1:], tokens[2:], strict=False):
        kinds = [child.type for child in content.children or []]
        if opening.type == "paragraph_open" and kinds == ["image"]:
            opening.tag = closing.tag = "figure"
    for before, opening, content in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if opening.type == "td_open" and before.type != "tr_open":
            for child in content.children or []:  # a wide table breaks its cells before "±" alone
                child.content = child.content.replace(" ", NO_BREAK).replace(f"{NO_BREAK}±", " ±")
    # The parser percent-encodes the paths of the page.
    by_path = {parser.normalizeLink(path): content for path, content in images.items()}
    for token in (child for parent in tokens for child in parent.children or []):
        path = str(token.attrGet("src"))
        if token.type == "image" and path in by_path:
            kind = mimetypes.guess_type(path)[0] or "image/png"
            token.attrSet("src", f"data:{kind};base64,{b64encode(by_path[path]).decode()}")
    headings = (
        content.children or []
        for opening, content in pairwise(tokens)
        if opening.type == "heading_open"
    )
    # Without their markup.
    title = "".join(child.content for child in next(headings, []))
    return _DOCUMENT.format(
        language=spoken(),
        policy=POLICY,
        title=html.escape(title),
        style=files(__package__).joinpath("page.css").read_text("utf-8"),
        body=parser.renderer.render(list(_boxed_tables(tokens)), parser.options, {}),
    )


def _boxed_tables(tokens: Sequence[Token]) -> Iterator[Token]:
    """The tokens, with each table in a box of its own to scroll in, by keyboard too."""
    box: dict[str, str | int | float] = {"class": "table", "role": "region"}
    box |= {"aria-label": say("Table"), "tabindex": 0}
    for token in tokens:
        if token.type == "table_open":
            yield Token("box_open", "div", 1, attrs=box.copy(), block=True)
        yield token
        if token.type == "table_close":
            yield Token("box_close", "div", -1, block=True)

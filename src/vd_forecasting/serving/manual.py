"""The description of the routes as a page to read, made here: nothing is loaded from elsewhere."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from vd_forecasting.rendering.html_page import POLICY, render_page

__all__ = ["POLICY", "manual"]


def manual(openapi: Mapping[str, Any]) -> str:
    """An OpenAPI description as HTML."""
    return render_page("\n".join(_lines(openapi)), {})


def _lines(openapi: Mapping[str, Any]) -> Iterator[str]:
    info = openapi["info"]
    yield f"# {info['title']} {info['version']}\n\n{info['description']}\n"
    yield "For programs: [openapi.json](/openapi.json). The [page](/) draws a forecast.\n"
    for path, methods in openapi["paths"].items():
        for method, of in methods.items():
            yield f"## `{method.upper()} {path}`\n\n{of['summary']}. {of['description']}\n"
            for parameter in of.get("parameters", []):
                yield f"- `{parameter['name']}` ({parameter['in']}): {parameter['description']}"
            for kind, content in of.get("requestBody", {}).get("content", {}).items():
                example = content["example"]
                text = example if isinstance(example, str) else json.dumps(example, indent=2)
                yield f"\n`{kind}`\n\n```\n{text.strip()}\n```\n"
            yield "\n| status | |\n|:---|:---|"
            for status, answer in of["responses"].items():
                yield f"| {status} | {answer['description']} |"
            yield ""
    yield "## Fields\n"
    for name, schema in openapi.get("components", {}).get("schemas", {}).items():
        yield f"### {name}\n\n{schema.get('description', '')}\n"
        yield "| field | type | |\n|:---|:---|:---|"
        for field, of in schema.get("properties", {}).items():
            yield f"| `{field}` | {of.get('type', '')} | {of.get('description', '')} |"
        yield ""

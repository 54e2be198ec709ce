"""The routes of the server, as FastAPI describes them to clients."""

import logging
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from vd_forecasting import __version__
from vd_forecasting.serving import answers, limits
from vd_forecasting.serving.manual import POLICY, manual
from vd_forecasting.serving.models_in_memory import ServedModel
from vd_forecasting.serving.refused import RefusedError
from vd_forecasting.serving.rows import read_rows, to_vd_array
from vd_forecasting.wording import nearest, quoted

logger = logging.getLogger(__name__)

JSON = "application/json"
PAGE = {"page.css": "text/css", "page.js": "text/javascript"}

SUMMARY = """Forecasts of road traffic by models that `kedro run` trained. Send the latest rows of
your detectors to `POST /forecast`; `GET /models` says what rows a model takes."""

ROW = {"timestamp": "2026-03-02T08:05:00+08:00", "vdid": "VD-1", "avg_speed": 61.5}
ROWS_AS_CSV = f"{','.join(ROW)}\n{','.join(map(str, ROW.values()))}\n"
BODY: dict[str, Any] = {
    "required": True,
    "content": {
        JSON: {
            "schema": {
                "type": "object",
                "required": ["rows"],
                "properties": {
                    "model": {"type": "string", "description": "as the query parameter"},
                    "rows": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["timestamp", "vdid"],
                            "properties": {
                                "timestamp": {"type": "string", "format": "date-time"},
                                "vdid": {"type": "string"},
                            },
                            "additionalProperties": {"type": ["number", "null"]},
                        },
                    },
                },
            },
            "example": {"model": "multi_vd_xlstm", "rows": [ROW]},
        },
        "text/csv": {"schema": {"type": "string"}, "example": ROWS_AS_CSV},
    },
}
MODEL = {
    "name": "model",
    "in": "query",
    "required": False,
    "schema": {"type": "string"},
    "description": "an experiment, such as multi_vd_xlstm; the first of `GET /models` by default",
}


class Series(BaseModel):
    """A forecast of one model, detector and feature, step by step."""

    model: str
    vdid: str
    feature: str
    unit: str
    forecast: list[float]
    lower_50: list[float | None] = Field([], description="and so for every level, lower and upper")
    upper_50: list[float | None] = []
    flags: list[list[str]] = Field(description="what makes a step unsure; `flags` explains it")


class Measured(BaseModel):
    """What was measured before the origin, as it was cleaned."""

    times: list[str]
    series: list[dict[str, Any]] = Field(description="vdid, feature and a value per time, or null")


class Forecast(BaseModel):
    """The forecasts from the last step with a value."""

    model: str
    interval_minutes: float
    origin: str
    horizons: list[int]
    times: list[str] = Field(description="of the horizons, on the clock of the rows")
    levels: list[float] = Field(description="of the intervals, in per cent")
    forecasts: list[Series]
    measured: Measured
    flags: dict[str, str]
    notes: list[str]


class Problem(BaseModel):
    """A request that is refused."""

    detail: str = Field(description="one line: the field or row at fault, what was found, a remedy")


REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The body is not UTF-8, JSON or CSV."},
    401: {"model": Problem, "description": "The token is missing or another."},
    408: {"model": Problem, "description": "The body came too slowly."},
    413: {"model": Problem, "description": "The body is too large."},
    415: {"model": Problem, "description": "The body is of another type, or packed."},
    422: {"model": Problem, "description": "The rows cannot be forecast."},
    429: {"model": Problem, "description": "Too many requests wait; see Retry-After."},
}


def create_app(
    models: Mapping[str, ServedModel], workers: limits.Workers, token: str | None = None
) -> limits.ASGI:
    """The server of some models, the first of them the default; without a token it is local."""
    app = FastAPI(
        title="vd_forecasting",
        version=__version__,
        description=SUMMARY,
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
    )
    described = answers.encode([answers.describe(model) for model in models.values()])

    @app.post(
        "/forecast",
        summary="Forecast from recent rows",
        openapi_extra={"requestBody": BODY, "parameters": [MODEL]},
        responses={200: {"model": Forecast}, **REFUSALS},
    )
    async def forecast(request: Request) -> Response:
        """Rows in the long form: a time stamp (ISO 8601), a detector and the features of the model
        in its units, in any order; null, or an empty cell, where a value is missing. At least a
        window of them, up to eight days."""
        with workers.place():
            asked = request.query_params.getlist("model")
            body = await limits.read_body(request)
            kind = request.headers.get("content-type", "")
            return json_response(await workers.run(forecast_body, models, asked, body, kind))

    @app.get(
        "/example",
        summary="Forecast from the end of the data that a model was trained on",
        openapi_extra={"parameters": [MODEL]},
        responses={200: {"model": Forecast}, **{code: REFUSALS[code] for code in (401, 422, 429)}},
    )
    async def example(request: Request) -> Response:
        """The answer of `POST /forecast`, without rows to send."""
        model = choose(models, request.query_params.getlist("model"))
        with workers.place():
            return json_response(await workers.run(encode_example, model))

    @app.get("/models", summary="The models and what they take")
    async def list_models() -> Response:
        """Name, detectors, features with units, window, interval, horizon, end of training, and
        the mean absolute errors of the comparison, by horizon. The first is the default: the
        lowest error relative to persistence's."""
        return json_response(described)

    @app.get("/health", summary="Whether the server answers")
    async def health() -> Response:
        """Needs no token."""
        return json_response(answers.encode({"status": "ok"}))

    @app.get("/docs", summary="This description, to read", include_in_schema=False)
    async def docs() -> Response:
        policy = {"content-security-policy": POLICY}
        return Response(manual(app.openapi()), headers=policy, media_type="text/html")

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return Response(asset("page.html"), media_type="text/html")

    @app.get("/{name}", include_in_schema=False)
    async def part(name: str) -> Response:
        if name not in PAGE:
            raise HTTPException(404)
        return Response(asset(name), media_type=PAGE[name])

    @app.exception_handler(RefusedError)
    async def refuse(_: Request, refused: RefusedError) -> Response:
        return refusal(refused)

    @app.exception_handler(HTTPException)
    async def refuse_route(request: Request, error: HTTPException) -> Response:
        found = f"{request.method} {request.url.path}"
        return refusal(RefusedError(error.status_code, f"{found}: no such route; see /docs"))

    return limits.guarded(app, token, refusal)


def forecast_body(
    models: Mapping[str, ServedModel], asked: list[str], body: bytes, content_type: str
) -> bytes:
    """The answer to a body, encoded."""
    rows = read_rows(body, content_type)
    model = choose(models, [*asked, *([rows.model] if rows.model is not None else [])])
    raw, notes = to_vd_array(rows, model.checkpoint)
    try:
        recent, forecasts = model.forecast(raw)
    except ValueError as error:
        raise RefusedError(422, str(error)) from error
    return answers.encode(answers.answer(model.name, forecasts, recent, notes))


def encode_example(model: ServedModel) -> bytes:
    """The answer to no rows, encoded."""
    recent, forecasts = model.example
    return answers.encode(answers.answer(model.name, forecasts, recent, []))


def choose(models: Mapping[str, ServedModel], asked: list[str]) -> ServedModel:
    """The model asked for, the first one if none is; RefusedError if it is not served."""
    if len({*asked}) > 1:
        raise RefusedError(422, f"model: {quoted(asked, 3)} are asked for; name one")
    name = asked[0] if asked else next(iter(models))
    if name not in models:
        near = nearest(name[:100], models)
        raise RefusedError(422, f"model: {name[:100]!r} is not served; did you mean {near}?")
    return models[name]


def json_response(content: bytes) -> Response:
    return Response(content, media_type=JSON)


def refusal(refused: RefusedError) -> Response:
    """One line; a sender that may still be sending is cut off."""
    headers = {"connection": "close"} if refused.status in {408, 413, 415, 429} else {}
    if refused.retry_after is not None:
        headers["retry-after"] = str(refused.retry_after)
    if refused.status == 401:
        headers["www-authenticate"] = "Bearer"
    content = answers.encode(answers.problem(refused))
    return Response(content, refused.status, headers, JSON)


def asset(name: str) -> bytes:
    """A file of the page."""
    return files(__package__).joinpath(name).read_bytes()

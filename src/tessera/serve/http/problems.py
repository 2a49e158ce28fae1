"""RFC 9457 problems: what is wrong, with the field, the status and the id of the request."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from tessera.serve.http.bodies import Problem

_MEDIA = "application/problem+json"
_LATER = {429: "1", 503: "1"}
"""Seconds after which the same request may be answered, by status."""


class Refused(Exception):
    """A request that cannot be answered, with its status."""

    def __init__(self, status: int, title: str, detail: str, field: str | None = None) -> None:
        super().__init__(detail)
        self.status, self.title, self.detail, self.field = status, title, detail, field

    def errors(self) -> list[dict[str, str]]:
        """Name the field, if it is one."""
        return [{"field": self.field, "problem": self.detail}] if self.field else []


def problem(
    request_id: str, told: Refused, errors: list[dict[str, str]] | None = None
) -> JSONResponse:
    """Lay a refusal out."""
    body = Problem(
        title=told.title,
        status=told.status,
        detail=told.detail,
        request_id=request_id,
        errors=told.errors() if errors is None else errors,
    )
    later = _LATER.get(told.status)
    headers = {"Retry-After": later} if later else {}
    return JSONResponse(body.model_dump(), told.status, headers, media_type=_MEDIA)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe problems of these statuses for OpenAPI."""
    content = {_MEDIA: {"schema": Problem.model_json_schema()}}
    return {status: {"description": "Problem", "content": content} for status in statuses}


def handle_problems(app: FastAPI) -> None:
    """Let every refusal of the application leave as a problem."""

    @app.exception_handler(Refused)
    async def refused(request: Request, told: Refused) -> JSONResponse:
        return problem(request.state.request_id, told)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        errors = [
            {"field": ".".join(map(str, one["loc"][1:])), "problem": one["msg"]}
            for one in error.errors()
        ]
        detail = "; ".join(f"{one['field'] or 'body'}: {one['problem']}" for one in errors[:5])
        return problem(request.state.request_id, Refused(422, "Invalid request", detail), errors)

    @app.exception_handler(HTTPException)
    async def failed(request: Request, error: HTTPException) -> JSONResponse:
        told = Refused(error.status_code, str(error.detail), str(error.detail))
        return problem(request.state.request_id, told)

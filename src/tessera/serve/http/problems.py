"""RFC 9457 problems: what is wrong, with the field, the status and the id of the request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from tessera.serve.http.bodies import Problem

_Result = TypeVar("_Result")
_MEDIA = "application/problem+json"
_LATER_S = 1
"""After which what is refused for now may be answered, if nothing better is known."""
_MOST_ERRORS, _MOST_NAME = 20, 128
"""Faults that are told of one request, and length of a name in them: both are chosen by others."""
_NO_ROUTE = "no such route: /docs tells of all"
_NO_OBJECT = "send a JSON object, with the header `Content-Type: application/json`"
_ANY = (400, 408, 413, 422, 429, 431, 500)


class Refused(Exception):
    """A request that cannot be answered, with its status."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        field: str | None = None,
        after_s: int = _LATER_S,
    ) -> None:
        super().__init__(detail)
        self.status, self.title, self.detail, self.field = status, title, detail, field
        self.after_s = after_s
        """Seconds after which it may be sent again, where it may."""

    def errors(self) -> list[dict[str, str]]:
        """Name the field, if it is one."""
        return [{"field": self.field, "problem": self.detail}] if self.field else []


def invalid(field: str, detail: str) -> Refused:
    """Return a refusal that names a field and says what is wrong with it."""
    return Refused(422, "Invalid request", f"{field} {detail}", field)


async def taken_in(take: Callable[..., _Result], *told: object) -> _Result:
    """Let a thread log what was told.

    Raises
    ------
    Refused
        If it cannot be logged: then none of it is known.
    """
    try:
        return await run_in_threadpool(take, *told)
    except (OSError, TimeoutError) as error:
        detail = "nothing was taken in: send it again later"
        raise Refused(503, "Log cannot be written", detail) from error


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
    return JSONResponse(body.model_dump(), told.status, _headers(told), media_type=_MEDIA)


def _headers(told: Refused) -> dict[str, str]:
    if told.status in (429, 503):
        return {"Retry-After": str(told.after_s)}
    return {"WWW-Authenticate": "Bearer"} if told.status == 401 else {}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe problems of these statuses for OpenAPI, and those that any request may meet."""
    content = {_MEDIA: {"schema": Problem.model_json_schema()}}
    every = sorted({*statuses, *_ANY})
    return {status: {"description": "Problem", "content": content} for status in every}


def handle_problems(app: FastAPI) -> None:
    """Let every refusal of the application leave as a problem."""

    @app.exception_handler(Refused)
    async def refused(request: Request, told: Refused) -> JSONResponse:
        return problem(request.state.request_id, told)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        errors = [_named(one) for one in error.errors()[:_MOST_ERRORS]]
        detail = "; ".join(f"{one['field'] or 'body'}: {one['problem']}" for one in errors[:5])
        return problem(request.state.request_id, Refused(422, "Invalid request", detail), errors)

    @app.exception_handler(HTTPException)
    async def failed(request: Request, error: HTTPException) -> JSONResponse:
        detail = _NO_ROUTE if error.status_code == 404 else str(error.detail)
        told = Refused(error.status_code, str(error.detail), detail)
        return problem(request.state.request_id, told)


def _named(fault: Mapping[str, Any]) -> dict[str, str]:
    """Name the field of a fault, and say what is wrong with it."""
    where = fault["loc"][1:]
    if fault["type"] == "json_invalid":  # it names the character as if it were a field
        why = f"no JSON, {fault['ctx']['error']} at character {where[0]}"
        return {"field": "", "problem": _text(why)}
    if not where and fault["type"] == "model_attributes_type":
        return {"field": "", "problem": _NO_OBJECT}
    return {"field": _text(".".join(map(str, where))), "problem": _text(fault["msg"])}


def _text(given: str) -> str:
    """Cut what others wrote, and leave out what is no text (half a pair of surrogates)."""
    return given[:_MOST_NAME].encode("utf-8", "replace").decode()

"""The page at `/docs`: every route with who may ask it, in words, made from our own OpenAPI.

It is plain HTML that loads nothing, and says what is true of every service of this version: nothing
of a bundle, an investor or a key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute

from tessera.contracts.pages import templates
from tessera.serve.http.bodies import Problem
from tessera.serve.http.guard import roles_of
from tessera.serve.http.pages import as_page

_NAMED = {"item_id": "i00363", "investor_id": "u000001", "k": 10}
"""What stands for a parameter in an example."""
_BOUNDS = {
    "minimum": "at least {}", "exclusiveMinimum": "above {}", "maximum": "at most {}",
    "minLength": "at least {} characters", "maxLength": "at most {} characters",
    "minItems": "at least {}", "maxItems": "at most {}",
}  # fmt: skip
_KINDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "yes or no"}
Parts = list[tuple[str, str | None]]
"""Words, each with the model that it names, if it does."""


def add_reference(app: FastAPI) -> None:
    """Add the page, which is rendered when somebody asks for it first."""
    page = cache(lambda: rendered(app))

    @app.get("/docs", include_in_schema=False)
    async def reference() -> HTMLResponse:
        return as_page(page())


def rendered(app: FastAPI) -> str:
    """Render the page of an application."""
    page = templates("tessera.serve.http").get_template("reference.html")
    return page.render(operations=list(_operations(app)), models=_models(app))


def _operations(app: FastAPI) -> Iterator[dict[str, Any]]:
    routes = [route for route in app.routes if isinstance(route, APIRoute)]
    roles = {(one.path, method.lower()): roles_of(one) for one in routes for method in one.methods}
    for path, methods in app.openapi()["paths"].items():
        for method, told in methods.items():
            yield {
                "method": method.upper(),
                "path": path,
                "summary": told["summary"],
                "roles": roles[path, method],
                "parameters": [
                    _field(one["name"], one["schema"], one["required"], f", in the {one['in']}")
                    for one in told.get("parameters", ())
                ],
                "body": kind(_schema(told["requestBody"])) if "requestBody" in told else None,
                "answers": _answers(told["responses"]),
                "problems": _problems(told["responses"]),
                "curl": curl(app, path, method, told),
            }


def _answers(responses: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"status": status, "kind": kind(_schema(told))}
        for status, told in responses.items()
        if status < "400"
    ]


def _problems(responses: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {"status": status, "title": HTTPStatus(int(status)).phrase}
        for status in responses
        if status >= "400"
    ]


def _schema(told: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of a body, whatever it is sent as."""
    found: Mapping[str, Any] = next(iter(told["content"].values())).get("schema", {})
    return found


def _models(app: FastAPI) -> list[dict[str, Any]]:
    """Return what bodies are made of; those of the framework's own faults are never sent."""
    schemas = app.openapi()["components"]["schemas"] | {"Problem": Problem.model_json_schema()}
    return [
        {
            "name": name,
            "description": told.get("description", ""),
            "fields": [
                _field(field, schema, field in told.get("required", ()))
                for field, schema in told["properties"].items()
            ],
        }
        for name, told in schemas.items()
        if name not in ("HTTPValidationError", "ValidationError")
    ]


def _field(name: str, schema: Mapping[str, Any], required: bool, where: str = "") -> dict[str, Any]:
    described = [schema, *schema.get("anyOf", ())]
    bounds = {text.format(_plain(one[bound])): None
              for one in described for bound, text in _BOUNDS.items() if bound in one}  # fmt: skip
    default = schema.get("default")
    given = "must" if required else f"by default {default}" if default else "may"
    return {
        "name": name,
        "kind": kind(schema),
        "given": given + where,
        "bounds": ", ".join(bounds),
        "description": schema.get("description", ""),
    }


def _plain(number: float) -> str:
    return f"{number:,.0f}" if number == int(number) else f"{number:g}"


def kind(schema: Mapping[str, Any]) -> Parts:
    """Say in words what may stand somewhere.

    >>> kind({"anyOf": [{"type": "array", "items": {"$ref": "#/x/Fact"}}, {"type": "null"}]})
    [('list of ', None), ('Fact', 'Fact')]
    """
    if "anyOf" in schema:
        given = [kind(one) for one in schema["anyOf"] if one.get("type") != "null"]
        return [part for n, one in enumerate(given) for part in (*[(" or ", None)] * (n > 0), *one)]
    if schema.get("type") == "array":
        return [("list of ", None), *kind(schema["items"])]
    if isinstance(schema.get("additionalProperties"), dict):
        return [*kind(schema["additionalProperties"]), (" by name", None)]
    return [_word(schema)]


def _word(schema: Mapping[str, Any]) -> tuple[str, str | None]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return name, name
    if "enum" in schema:
        return ", ".join(schema["enum"]), None
    if schema.get("format") == "date-time":
        return "time with its zone", None
    return _KINDS.get(schema.get("type", ""), "any JSON"), None


def curl(app: FastAPI, path: str, method: str, told: Mapping[str, Any]) -> str:
    """Return a line that asks a route, with `$URL` and `$KEY` as on the page of serving."""
    words = ["curl -sS --fail-with-body"]
    if method not in ("get", "post"):
        words.append(f"-X {method.upper()}")
    words.append(f"$URL{path.format(**_NAMED)}{_query(told)}")
    if "security" in told:
        words.append('-H "Authorization: Bearer $KEY"')
    if "requestBody" in told:
        name = _schema(told["requestBody"])["$ref"].rpartition("/")[2]
        (example,) = app.openapi()["components"]["schemas"][name]["examples"]
        words.append(f"-H \"Content-Type: application/json\" -d '{json.dumps(example)}'")
    return " ".join(words)


def _query(told: Mapping[str, Any]) -> str:
    asked = [one["name"] for one in told.get("parameters", ()) if one["in"] == "query"]
    return f"?{'&'.join(f'{name}={_NAMED[name]}' for name in asked)}" if asked else ""

"""params.yaml plus the profile's overrides, checked whole before any work begins."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, TypeVar, cast, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator

from tessera.contracts import statements
from tessera.contracts.errors import BadParams
from tessera.contracts.params import DATA, ROOT, STRICT, DataParams, RootParams, given
from tessera.platform.workspace import files
from tessera.platform.workspace.catalogue import ALL_STAGES, MARKET, SERVED
from tessera.platform.workspace.moved import refuse_moved
from tessera.platform.workspace.paths import Workspace
from tessera.serve.params import ServeParams


class GateParams(BaseModel):
    """What the act of publishing obeys beyond the verdict."""

    model_config = STRICT

    override_reason: str | None = Field(default=None, min_length=10, max_length=500)
    """Publish against an INVALID verdict for this reason, recorded for ever; HOLD and REJECT want
    their reason with the act itself."""
    approver: str | None = Field(default=None, min_length=2, max_length=100)
    """Who answers for an override."""
    approval: bool = False
    """Ask a person before a PROMOTE is published: the candidate waits until somebody approves."""

    @field_validator("override_reason", mode="before")
    @classmethod
    def _says_something(cls, text: object) -> object:
        return statements.reason(text) if isinstance(text, str) else text

    @field_validator("approver", mode="before")
    @classmethod
    def _names_somebody(cls, text: object) -> object:
        return statements.name(text) if isinstance(text, str) else text


Sections = Mapping[str, BaseModel]
Kind = TypeVar("Kind", bound=BaseModel)


def section_types() -> dict[str, type[BaseModel]]:
    """Params class of every section of params.yaml."""
    types: dict[str, type[BaseModel]] = {
        "gate": GateParams,
        "serve": ServeParams,
        DATA: DataParams,
    }
    for name in dict.fromkeys(stage.section for stage in ALL_STAGES if stage.section):
        types[name] = params_type(name)
    return types


def params_type(stage: str) -> type[BaseModel]:
    """Params class of a stage: its section, or what it reads of another's."""
    module = importlib.import_module(f"tessera.stages.{stage}.params")
    kind: type[BaseModel] = getattr(module, f"{stage.capitalize()}Params")
    return kind


def read_yaml(workspace: Workspace) -> dict[str, Any]:
    """Return what is said: params.yaml with the profile's overrides laid over it.

    Raises
    ------
    BadParams
        If either file is not a mapping of sections.
    """
    base = _read_mapping(workspace, "params.yaml")
    overrides = _read_mapping(workspace, f"profiles/{workspace.profile}.yaml")
    merged = dict(base)
    for name, said in overrides.items():
        merged[name] = said if name == ROOT else {**merged.get(name, {}), **said}
    return merged


def load_params(workspace: Workspace) -> Sections:
    """Check every section and return it typed.

    Raises
    ------
    BadParams
        On an unknown section or field, a wrong type or a value out of bounds; one line.
    """
    raw = read_yaml(workspace)
    root = _check(RootParams, {name: raw.pop(name) for name in (ROOT,) if name in raw})
    types = section_types()
    for name in raw:
        if name not in types:
            raise BadParams(f"params: unknown section {name!r}{_meant(name, types)}")
    refuse_moved(raw, types)
    data = _check(DataParams, raw.get(DATA, {}), DATA)
    return {
        name: _check(kind, {**raw.get(name, {}), **given(kind, data, root.seed)}, name)
        for name, kind in types.items()
    }


def serve_params(workspace: Workspace) -> ServeParams:
    """Return the section of the service, checked with all the others."""
    return cast("ServeParams", load_params(workspace)["serve"])


def source_of(workspace: Workspace) -> str:
    """Return what wrote a profile's files, without importing any stage (for rendering and DAGs).

    Of a served log that is the source that it goes on from.
    """
    said = read_yaml(workspace).get("ingest", {})
    return str(said.get("of", MARKET) if reads_served(workspace) else said.get("source", ""))


def reads_served(workspace: Workspace) -> bool:
    """Tell whether a profile's runs read what its service logged."""
    return bool(read_yaml(workspace).get("ingest", {}).get("source") == SERVED)


def _read_mapping(workspace: Workspace, name: str) -> dict[str, Any]:
    try:
        return _sections(name, (workspace.root / name).read_text())
    except UnicodeDecodeError as error:
        raise BadParams(f"{name} is not UTF-8 ({error}): save it as UTF-8") from error
    except OSError as error:
        raise BadParams(f"{name} cannot be read: {error.strerror}") from error


@lru_cache(maxsize=8)
def _sections(name: str, text: str) -> dict[str, Any]:
    """Read the text of a file, which a command asks for again and again; nobody changes it."""
    try:
        found = files.parse_yaml(text) or {}
    except yaml.YAMLError as error:
        raise BadParams(f"{name} is not YAML: {' '.join(str(error).split())}") from error
    if isinstance(found, dict):
        found = {key: said if key == ROOT else said or {} for key, said in found.items()}
        if all(isinstance(said, dict) for key, said in found.items() if key != ROOT):
            return found
    raise BadParams(f"{name} must hold sections, each a mapping of params, and {ROOT} at most")


def check_section(section: str, values: dict[str, Any]) -> BaseModel:
    """Check one section and return it typed.

    Raises
    ------
    BadParams
        As `load_params` does.
    """
    return _check(section_types()[section], values, section)


def require_said(override_reason: str | None) -> None:
    """Refuse a reason that says nothing before the work that it would let through.

    Raises
    ------
    BadParams
        If there is one and it is none.
    """
    if override_reason:
        check_section("gate", {"override_reason": override_reason})


def _check(kind: type[Kind], values: dict[str, Any], *section: str) -> Kind:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in (*section, *first["loc"]))
        if first["type"] == "extra_forbidden":
            known = _fields(kind, first["loc"][:-1])
            hint = _meant(str(first["loc"][-1]), known)
            raise BadParams(f"params: unknown {field}{hint}") from error
        if first["type"] == "value_error":  # one of ours, which says what it saw
            raise BadParams(f"params: {field}: {first['ctx']['error']}") from error
        raise BadParams(f"params: {field}: {first['msg']}, got {first['input']!r}") from error


def _fields(kind: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    """Names that a mapping inside a section may hold."""
    fields = kind.model_fields
    for part in place:
        if part in fields:
            inner = _model_in(fields[str(part)].annotation)
            fields = inner.model_fields if inner else fields
    return [info.alias or name for name, info in fields.items()]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Find the class of the mappings that a field holds, however deep in dicts and unions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_in(inner) for inner in get_args(annotation))
    return next((model for model in found if model), None)


def _meant(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {close[0]!r}?" if close else f"; known: {', '.join(known)}"

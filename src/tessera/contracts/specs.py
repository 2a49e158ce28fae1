"""Specifications that people edit beside the params: the files below `monitoring/`."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from tessera.contracts.errors import BadParams

Spec = TypeVar("Spec", bound=BaseModel)


def read_spec(path: Path, kind: type[Spec]) -> Spec:
    """Read and check a specification.

    Raises
    ------
    BadParams
        If it is missing, no YAML, or holds something unknown or out of bounds; one line.
    """
    try:
        return kind.model_validate(yaml.safe_load(path.read_text()))
    except OSError as error:
        raise BadParams(f"{path.name} is missing: restore monitoring/{path.name}") from error
    except UnicodeDecodeError as error:
        raise BadParams(f"{path.name} is not UTF-8 ({error}): save it as UTF-8") from error
    except yaml.YAMLError as error:
        raise BadParams(f"{path.name} is not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "all of it"
        raise BadParams(f"{path.name}: {where}: {first['msg']}") from error

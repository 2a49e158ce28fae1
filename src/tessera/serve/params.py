"""What a person may turn in serving; the slate policy itself is the one that was judged."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from tessera.contracts.params import STRICT


class ServeParams(BaseModel):
    """What the service answers with, beside the slate policy, which is the one that was judged."""

    model_config = STRICT

    retrieved: int = Field(40, ge=1, le=1000)
    """Candidates that retrieval finds for a request."""
    uniform: int = Field(10, ge=0, le=1000)
    """Further candidates drawn from all that suits, so that another model has support too."""
    kept_mb: float = Field(256.0, ge=0.0, le=65536.0)
    """Histories as the model has read them, kept in memory for the next request; 0 keeps none."""
    state: Literal["auto", "memory", "sqlite", "redis"] = "auto"
    """How processes tell each other of events: `auto` is memory for one and sqlite for several; the
    address for redis stands in the environment, `TESSERA_REDIS`."""

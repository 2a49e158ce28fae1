"""What a person may turn in serving; the slate policy itself is the one that was judged."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ServeParams(BaseModel):
    """Parameters of the service."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    retrieved: int = Field(40, ge=1, le=1000)
    """Candidates that retrieval finds for a request."""
    uniform: int = Field(10, ge=1, le=1000)
    """Further candidates drawn from all that suits, so that another model has support too."""

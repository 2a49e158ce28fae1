"""Section `hstu` of params.yaml; the class stands by the model that reads it."""

from tessera.model.params import HstuParams

__all__ = ["HstuParams"]

"""What the stage reads of section `hstu`; the class stands by the model that reads it."""

from tessera.model.params import BaselinesParams

__all__ = ["BaselinesParams"]

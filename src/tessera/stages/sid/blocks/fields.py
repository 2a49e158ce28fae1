"""What the item declares, apart from its text: each field and its value, hashed (Weinberger 2009).

Legend: N items, W width.
"""

from __future__ import annotations

import numpy as np
from sklearn.feature_extraction import FeatureHasher

from tessera.contracts.arrays import Float64s
from tessera.shared.codes.words import FIELDS
from tessera.stages.sid.scaling import by_direction
from tessera.stages.sid.vectors import Catalogue

_WIDTH = 128
_MARKS = tuple(f"{name}=" for name in FIELDS)


def rows(catalogue: Catalogue, content_NW: Float64s) -> Float64s:  # noqa: ARG001
    """Sum of the hashed fields; zero for an item that declares none."""
    fields_N = [[term for term in terms if term.startswith(_MARKS)] for terms in catalogue.terms_N]
    hashed_NW = FeatureHasher(_WIDTH, input_type="string").transform(fields_N)
    return np.asarray(hashed_NW.toarray(), dtype=np.float64)


def scale(block_NW: Float64s) -> tuple[Float64s, Float64s]:
    """Keep the relative sizes of directions."""
    return by_direction(block_NW)

"""How well scores order what was shown together: only pairs of one slate count.

Shapes: R requests, M positions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tessera.contracts import arrays


def slate_auc(
    score_RM: NDArray[np.floating], label_RM: NDArray[np.floating], shown_RM: NDArray[np.bool_]
) -> float:
    """Return the share of pairs (answered, not) of one slate in right order; ties count half.

    Parameters
    ----------
    score_RM, label_RM
        Score of each row and whether it was answered (above 0.5).
    shown_RM
        Rows that count; False for padding and unknown answers.

    Returns
    -------
    float
        NaN if no slate holds such a pair.

    >>> slate_auc(np.array([[3.0, 2.0, 1.0]]), np.array([[0.0, 1.0, 0.0]]), np.ones((1, 3), bool))
    0.5
    """
    arrays.shapes(score_RM=score_RM, label_RM=label_RM, shown_RM=shown_RM)
    if np.isnan(score_RM[shown_RM]).any():
        raise ValueError("score_RM holds NaN where shown_RM is True: leave such rows out")
    yes_RM, no_RM = shown_RM & (label_RM > 0.5), shown_RM & (label_RM <= 0.5)
    pair_RMM = yes_RM[:, :, None] & no_RM[:, None, :]
    gap_RMM = score_RM[:, :, None] - score_RM[:, None, :]
    right = (gap_RMM > 0)[pair_RMM].sum() + 0.5 * (gap_RMM == 0)[pair_RMM].sum()
    pairs = int(pair_RMM.sum())
    return float(right / pairs) if pairs else float("nan")

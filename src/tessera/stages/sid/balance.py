"""Items that would share a whole code get last codewords of their own, as near as can be.

Legend: N items, D vector width, L levels, K codewords of a level, G items of one prefix, J
codewords that are given in one round.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

import numpy as np
from scipy.optimize import linear_sum_assignment

from tessera.contracts.arrays import Float64s, Ints
from tessera.stages.sid.codebooks import Quantizer


def balance(
    code_NL: Ints,
    vector_ND: Float64s,
    quantizer: Quantizer,
    item_ids: list[str],
    held: Mapping[str, tuple[int, ...]],
    later: Collection[str] = (),
) -> Ints:
    """Move last codewords of new items that collide, with each other or with a code given before.

    New items of such a prefix are assigned in rounds, at the least squared distance in sum: a round
    gives each of the codewords that have the fewest items once, so a codeword that is taken is
    given again only where none is free, and no more often than others, however many days it took.
    Items that hold a code keep it, and neither the order of rows nor items of other prefixes
    matter.  Items of `later`, not born yet, are given theirs when all others have one, so that
    none of these depends on the future.

    Parameters
    ----------
    code_NL : Ints
        What the quantizer gave.
    vector_ND : Float64s
        What it gave them to.
    item_ids : list of str
        Item of each row.
    held : mapping
        Codes given before, with their suffix.
    later : collection of str
        Items that are not born by the cut.
    """
    taken: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for *prefix, last, _ in held.values():
        taken[tuple(prefix)].append(last)
    new = [row for row in sorted(range(len(item_ids)), key=item_ids.__getitem__)
           if item_ids[row] not in held]  # fmt: skip
    found_NL = code_NL.copy()
    for turn in (False, True):
        rows = [row for row in new if (item_ids[row] in later) == turn]
        _give(found_NL, rows, vector_ND, quantizer, taken)
    return found_NL


def _give(
    code_NL: Ints,
    new: list[int],
    vector_ND: Float64s,
    quantizer: Quantizer,
    taken: dict[tuple[int, ...], list[int]],
) -> None:
    """Give last codewords to some rows, in place, and note them as taken."""
    members: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for row in new:
        members[tuple(code_NL[row, :-1].tolist())].append(row)
    for shared, rows in members.items():
        used = taken[shared]
        if len({*used, *code_NL[rows, -1].tolist()}) < len({*used}) + len(rows):
            code_NL[rows, -1] = _assigned(shared, vector_ND[rows], quantizer, used)
        used.extend(code_NL[rows, -1].tolist())


def _assigned(
    prefix: tuple[int, ...], vector_GD: Float64s, quantizer: Quantizer, used: list[int]
) -> Ints:
    """Last codeword [G] of each item of one prefix."""
    size = quantizer.codeword_LKD.shape[1]
    word_KD = quantizer.decode(np.array([[*prefix, last] for last in range(size)], dtype=np.int64))
    count_K = np.bincount(np.array(used, dtype=np.int64), minlength=size)
    last_G = np.empty(len(vector_GD), dtype=np.int64)
    begin = 0
    while begin < len(vector_GD):
        # Round by round, so that a prefix of many items costs no more than K x K at once.
        free_J = np.flatnonzero(count_K == count_K.min())
        rows = slice(begin, begin + len(free_J))
        cost_GJ = _gaps(vector_GD[rows], word_KD)[:, free_J]
        last_G[rows] = free_J[linear_sum_assignment(cost_GJ)[1]]
        count_K[last_G[rows]] += 1
        begin += len(free_J)
    return last_G


def _gaps(vector_GD: Float64s, word_KD: Float64s) -> Float64s:
    """Squared distances; rounded, so that ties stay ties whatever the linear algebra adds first."""
    gap_GK = np.sum(word_KD**2, axis=1) - 2.0 * vector_GD @ word_KD.T
    return np.asarray(np.round(gap_GK, 9), dtype=np.float64)

"""Communities of investors and items that buy within, which no text and no field tells of.

Shapes: U users, I items, K topics, M communities.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tessera.contracts.arrays import Float64s, Ints
from tessera.stages.synth.assets import Assets
from tessera.stages.synth.investors import Investors
from tessera.stages.synth.params import SynthParams

_STREAM = 12
"""Number of the stream of chance that says who and what belongs together."""
_LENGTH = 1.5
"""Of what a community adds to a vector whose topics have length 1; ours."""


def draw_communities(params: SynthParams) -> tuple[Ints, Ints]:
    """Community of each investor [U] and item [I]; all alike likely."""
    rng = np.random.default_rng((params.seed, _STREAM))
    most = params.communities
    return rng.integers(0, most, params.users), rng.permutation(np.arange(params.items) % most)


def joined(params: SynthParams, investors: Investors, assets: Assets) -> tuple[Investors, Assets]:
    """Let investors want what is of their community, beside the topics; as they are if none is.

    Tastes and items get a direction more for each community, so that whatever follows from taste
    (purchases, clicks, sales, the effect of being shown) follows from it too.
    """
    if params.communities == 0:
        return investors, assets
    user_U, item_I = draw_communities(params)

    def wide(vector_XK: Float64s, community_X: Ints) -> Float64s:
        return np.hstack([vector_XK, _LENGTH * np.eye(params.communities)[community_X]])

    return (
        replace(
            investors,
            taste_first_UK=wide(investors.taste_first_UK, user_U),
            taste_last_UK=wide(investors.taste_last_UK, user_U),
        ),
        replace(assets, vector_IK=wide(assets.vector_IK, item_I)),
    )

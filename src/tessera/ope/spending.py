"""The k-th candidate since the champion was published gets the k-th share of alpha.

A stream of candidates without end would promote a tie sooner or later at any fixed error rate; the
shares of `holm.spent` add up to alpha.  What was judged before is pinned from the history of acts
like the champion.  The same candidate on a longer log is another look, which the sequence allows
for: it keeps its share.  A verdict that no act of publishing followed is not in the history.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from tessera.ope.params import OpeParams


@dataclass(frozen=True, slots=True)
class Standing:
    """Which candidate stands at the gate."""

    candidate: str
    """Hash of what is judged and how."""
    k: int
    """Place among the candidates judged since the champion was published, from 1."""
    look: int = 1
    """Place among the states of the log that this candidate was judged on, from 1."""
    alpha: float = 0.05
    """Error rate that all candidates of this log share."""


def stand(model: Path, judged: Path, cut: str, params: OpeParams) -> Standing:
    """Tell the candidate from those judged before.

    A candidate is its model, the section `ope` (the policy it would serve with, and how it is
    judged: to ask again in another way is to try again), and the cut at which its sequence starts.
    A batch is one candidate: Holm divides its share.

    Parameters
    ----------
    model : Path
        Folder of the weights and configuration.
    judged : Path
        Candidates judged before, each once, oldest first.
    cut : str
        Only requests after it count.
    params : OpeParams
        Section `ope`.
    """
    digest = hashlib.sha256(json.dumps([cut, params.model_dump(mode="json")]).encode())
    for path in sorted(path for path in model.rglob("*") if path.is_file()):
        digest.update(path.relative_to(model).as_posix().encode())
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    candidate = digest.hexdigest()
    before: list[str] = json.loads(judged.read_text())["candidates"]
    place = before.index(candidate) if candidate in before else len(before)
    return Standing(candidate, place + 1)

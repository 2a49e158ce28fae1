"""Tessera as a library: frames in, lists and answers out; no server, no registry, no file.

Lists from what people did:

```python
import pandas as pd

from tessera import api

events = pd.read_parquet("data/market/events.parquet")
items = pd.read_parquet("data/market/items.parquet")
recommender = api.train(events, items)
lists = api.recommend(recommender, top=5)
print(lists.to_pandas().head())
```

What a new policy would have earned on the log of another one:

```python
import pandas as pd

from tessera import api

names = ("exposures", "outcomes", "users", "items", "scores")
frames = {name: pd.read_parquet(f"data/market/{name}.parquet") for name in names}
scores = frames.pop("scores")
log = api.read_log(**frames, cut="2024-12-23")
candidate = api.policy_by_scores(log, scores, api.SlatePolicy(temperature=0.5, epsilon=0.2))
answer = api.judge(log, candidate, api.policy_that_served(log))
print(answer.decision, answer.reason, answer.lower, answer.estimates["dr"])
```

Everything here calls what the pipeline calls.  A frame is a pandas DataFrame or a PyArrow table;
its columns are those of `tessera.contracts.tables`.
"""

from __future__ import annotations

from tessera.api_judging import (
    Answer,
    ExposureLog,
    judge,
    policy_by_probabilities,
    policy_by_scores,
    policy_that_served,
    read_log,
)
from tessera.api_training import Recommender, recommend, train
from tessera.model.params import HstuParams
from tessera.shared.policies.slate import SlatePolicy
from tessera.stages.ope.params import OpeParams

__all__ = [
    "Answer",
    "ExposureLog",
    "HstuParams",
    "OpeParams",
    "Recommender",
    "SlatePolicy",
    "judge",
    "policy_by_probabilities",
    "policy_by_scores",
    "policy_that_served",
    "read_log",
    "recommend",
    "train",
]

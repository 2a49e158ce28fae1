"""What models and metrics are called on the page."""

from __future__ import annotations

_NAMES = {
    "hstu": "HSTU",
    "hstu_session": "HSTU, last session only",
    "hstu_past": "HSTU, mixed by all validation periods so far",
    "hstu_best": "HSTU, mixed by the best mean alone",
    "hstu_trunk": "HSTU, trunk alone",
    "hstu_generative": "HSTU, decoded codes",
    "hstu_walk": "walks along edges",
    "hstu_blend": "blend of the sources",
    "hstu_profit": "HSTU, the weight on profit that had returned most",
    "sasrec": "SASRec",
    "two_tower": "two-tower",
    "ease": "EASE",
    "item_knn": "item-kNN",
    "als": "ALS",
    "recent_popularity": "recent popularity",
    "popularity_demand": "popularity + demand",
    "demand_leaning": "demand x leaning",
    "ease_demand": "EASE + demand",
    "most_popular": "the ten most popular",
    "hr_10": "HR@10",
    "ndcg_10": "nDCG@10",
    "mrr_10": "MRR@10",
    "coverage_10": "coverage@10",
    "roi_10": "ROI@10",
    "cold_recall_10": "Recall@10, cold",
    "born_after_cut_recall_10": "Recall@10, born later",
}
"""Names of models, then of metrics, where they differ from those in the results."""
METRICS = [name for name in _NAMES if name.endswith("_10")]


def called(name: str) -> str:
    """Return what the model or the metric of this code is called."""
    _, is_weighed, weight = name.partition("hstu_profit_")
    return f"HSTU, weight {weight} on profit" if is_weighed else _NAMES.get(name, name)

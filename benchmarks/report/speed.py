"""How fast HSTU trains and answers, and where its time goes."""

from __future__ import annotations

import math
import statistics

from benchmarks.report.page import Figure, Found, Section, parts, table

_WAYS = {
    "reference": "plain: padded to the full length, eager, its own negatives for each event",
    "reference_gathered": "plain, but normalising each gathered negative as the authors' code does",
    "same_padding": "ours at the same padding, same loss",
    "by_length": "ours, batches by length, same loss",
    "by_length_full_softmax": "ours, batches by length, full softmax",
    "by_length_shared_negatives": "ours, batches by length, shared negatives",
    "random_batches_shared_negatives": "ours, random batches, shared negatives",
}
_FULL, _SHARED = "by_length_full_softmax", "by_length_shared_negatives"
_ASKED_NDCG = 0.168
"""Of the authors' code on the same users."""


def _speed_table(found: Found) -> str:
    return parts(
        table(
            ["training step", "sequences/s", "times plain", "times plain, gathered"],
            (
                [
                    name,
                    found[f"{way}_sequences_per_s"],
                    found[f"{way}_ratio"],
                    found[f"{way}_ratio_to_gathered"],
                ]
                for way, name in _WAYS.items()
            ),
        ),
        f"Data: {found['source']}, {found['mean_length']} events a history on average, "
        f"{found['threads']} threads. The layers alone at equal padding are "
        f"{found['ratio_layers_alone']} times as fast. The largest product of a step runs at "
        f"{found['product_gflops_onednn']} GFLOP/s by oneDNN and {found['product_gflops_mkl']} by "
        "MKL.",
        table(
            ["one request, one thread", "p50 ms", "p99 ms"],
            (
                [name, found[f"{key}_p50_ms"], found[f"{key}_p99_ms"]]
                for key, name in (
                    ("encode", "encode a history of 200 events"),
                    ("encode_and_rank", "encode it and rank 200 candidates"),
                )
            ),
        ),
        _operations_table(found),
        _parts_table(found),
    )


def _shared_ndcg(found: Found) -> float:
    """Return the nDCG@10 on MovieLens after training with shared negatives; NaN if not run."""
    if "beside" not in found:
        return math.nan
    seeds = found["beside"]["figures"]["seeds"].values()
    return statistics.fmean(one["models"]["hstu"]["ndcg_10"] for one in seeds)


def _of_two_encoders(found: Found) -> float:
    """Return the operations over those of two unpruned encoders, for a history of 200 events."""
    return float(found["operations"]["200"]["unpruned"])


def _operations_table(found: Found) -> str:
    return parts(
        "Encoding once for recall and ranking takes "
        f"{_of_two_encoders(found):.0%} of the operations of two encoders, of which the second "
        "ranks unpruned: its candidates pass through every layer. A second encoder pruned as the "
        "head is (in its upper layer the history has keys and values, no queries) leaves less to "
        "save.",
        table(
            ["operations of encoding once, 200 candidates", "over two encoders", "second pruned"],
            (
                [f"{events} events", f"{one['unpruned']:.0%}", f"{one['pruned']:.0%}"]
                for events, one in found["operations"].items()
            ),
        ),
    )


_KINDS = {"full": "full softmax", "shared": "shared negatives"}


def _parts_table(found: Found) -> str:
    rate = found["product_gflops_onednn"]
    return parts(
        "Where the time of a training step goes, batches by length, and what share of the "
        f"machine's rate of products ({rate} GFLOP/s) its products come to; the product of queries "
        f"and keys alone reaches {found['attention_product_gflops']}. What is not in products is "
        "SiLU, biases, norms, exponentials and moving data.",
        table(
            [
                "training step",
                "trunk",
                "loss",
                "optimizer",
                "in products",
                "trunk GFLOP/s",
                "loss GFLOP/s",
            ],
            (
                [
                    _KINDS[kind],
                    *(f"{one[f'{key}_share']:.0%}" for key in ("trunk", "loss", "optimizer")),
                    f"{one['products_share']:.0%}",
                    *(
                        f"{one[f'{key}_gflops']} ({one[f'{key}_gflops'] / rate:.0%})"
                        for key in ("trunk", "loss")
                    ),
                ]
                for kind, one in found["parts"].items()
            ),
        ),
    )


SECTION = Section(
    "hstu",
    "Speed of HSTU",
    "How fast HSTU (the sequence model) trains on MovieLens-1M batches beside a plain padded "
    "implementation of the same formulas, timed in turns, and how long one request takes. A "
    "step is forward, backward and optimizer. The plain one draws 128 negatives for each "
    "event; the full softmax looks at the whole catalogue, shared negatives serve many events.",
    "`make bench`, alone `python -m benchmarks hstu`",
    (
        Figure(
            "HSTU training step over a plain padded one, two threads",
            "at least 4 times, aiming for 8, at an nDCG@10 of .168 on MovieLens",
            lambda f: (
                f"shared negatives {f[_SHARED + '_ratio']} times (nDCG {_shared_ndcg(f):.4f}), "
                f"full softmax {f[_FULL + '_ratio']} times; {f[_SHARED + '_ratio_to_gathered']} "
                f"and {f[_FULL + '_ratio_to_gathered']} times one that works as the authors' code"
            ),
            lambda f: [f[_SHARED + "_ratio"] >= 4, _shared_ndcg(f) >= _ASKED_NDCG],
        ),
        Figure(
            "HSTU encodes one history of 200 events, one thread",
            "p50 under 3 ms",
            lambda f: f"p50 {f['encode_p50_ms']} ms",
            lambda f: [f["encode_p50_ms"] < 3],
        ),
        Figure(
            "HSTU encodes one history and ranks 200 candidates, one thread",
            "p99 under 12 ms; at most 60 % of the operations of two encoders",
            lambda f: (
                f"p99 {f['encode_and_rank_p99_ms']} ms; {_of_two_encoders(f):.0%} of the "
                "operations where the second ranks unpruned"
            ),
            lambda f: [f["encode_and_rank_p99_ms"] < 12, _of_two_encoders(f) <= 0.6],
        ),
    ),
    _speed_table,
    beside="quality_movielens-shared",
)

"""How the results of each benchmark are told in one cell."""

from __future__ import annotations

import statistics
from collections.abc import Sized
from typing import Any

from tessera.pipeline.ablate import FIGURES, WHOLE, change

BIG = "10000000 events"


def house(name: str, unit: str = " s") -> Any:
    """Tell one figure of the house."""
    return lambda found: f"{found[name]}{unit}" if name in found else "not run"


def hstu_speed(f: dict[str, Any]) -> str:
    """Tell how much faster a step is than either reference."""
    ways = ("by_length_full_softmax", "by_length_shared_negatives")
    full, shared = (f"{f[f'{way}_ratio']} times" for way in ways)
    gathered = [f[f"{way}_ratio_to_gathered"] for way in ways]
    plain = f["reference_gathered_sequences_per_s"]
    return (
        f"full softmax {full}, shared negatives {shared} "
        f"({gathered[0]} and {gathered[1]} times one that normalises each gathered negative, as "
        f"the authors' code does, at {plain} sequences/s); layers alone at equal padding "
        f"{f['ratio_layers_alone']} times; {f['source']}; products at "
        f"{f['product_gflops_onednn']} GFLOP/s"
    )


def ablation(found: dict[str, Any]) -> str:
    """Tell every figure of the whole, and how it changes without each part."""
    names = [name for name in FIGURES if name in found[WHOLE][0]]
    whole = "; ".join(f"{FIGURES[name]} {found[WHOLE][0][name]:.4f}" for name in names)
    parts = [
        f"{part} " + " / ".join(change(found, part, name) or "none" for name in names)
        for part in found
        if part != WHOLE
    ]
    return f"{_seeds(found[WHOLE])}; {whole}; without " + "; ".join(parts)


def scale(found: dict[str, Any]) -> str:
    """Tell each stage's seconds, peak memory and heap at every size, and how they grow."""
    by_size = {size: one for size, one in found.items() if size != "growth"}
    sizes = ", ".join(f"{size} is {one['events']:,} events" for size, one in by_size.items())
    lines = []
    for name in (name for name in next(iter(by_size.values())) if name != "events"):
        each = ", ".join(
            f"{one[name]['seconds']} s {one[name]['peak_mb']} MB (heap {one[name]['heap_mb']})"
            for one in by_size.values()
        )
        grown = ", ".join(
            f"{one[name]['seconds']} and {one[name]['heap_mb']}"
            for one in found.get("growth", {}).values()
        )
        lines.append(f"{name} {each}" + (f", exponents {grown}" if grown else ""))
    return f"{sizes}; exponents are of seconds and heap: " + "; ".join(lines)


def pareto(found: dict[str, Any]) -> str:
    """Tell nDCG@10 and ROI@10 of every model under each protocol."""
    told = []
    for protocol, one in found["protocols"].items():
        points = one["points"]
        line = "; ".join(
            f"{model} {point['ndcg_10']:.4f} / {point['roi_10']:.4f}"
            for model, point in points.items()
        )
        told.append(f"{protocol} ({one['users']} users, market {one['market_roi']:.4f}): {line}")
    return ". ".join(told) + ". ![curve](pictures/pareto.png)"


def acceptance(found: dict[str, Any]) -> str:
    """Tell the means over the seeds."""
    words = {"_recall_50": " Recall@50", "_auc": " AUC", "_": " "}
    told = []
    for name, value in found["mean"].items():
        for code, word in words.items():
            name = name.replace(code, word)
        told.append(f"{name} {value:.4f}")
    mean = ", ".join(told)
    return f"{_seeds(found['seeds'])}: {mean}"


def quality(*names: str) -> Any:
    """Tell these metrics of every model, the best first; means over the seeds."""

    def told(found: dict[str, Any]) -> str:
        seeds = list(found["seeds"].values())
        models = {
            model: [
                statistics.mean(seed["models"][model][name] for seed in seeds) for name in names
            ]
            for model in seeds[0]["models"]
            if all(name in seeds[0]["models"][model] for name in names)
        }
        ranked = sorted(models, key=lambda model: -models[model][-1])
        lines = [f"{model} {' / '.join(f'{x:.4f}' for x in models[model])}" for model in ranked]
        word = "seed" if len(seeds) == 1 else "seeds"
        told = f"{len(seeds)} {word}, {seeds[0]['users']} users: " + "; ".join(lines)
        return told + ahead(seeds)

    return told


def ahead(seeds: list[dict[str, Any]]) -> str:
    """Tell by how much HSTU is ahead of the best baseline, with the interval of each seed."""
    found = [seed["hstu_ahead"] for seed in seeds if "hstu_ahead" in seed]
    if not found:
        return ""
    each = ", ".join(
        f"{one['mean']:+.4f} [{one['low']:+.4f}, {one['high']:+.4f}] over {one['of']}"
        for one in found
    )
    market = seeds[0].get("market_roi")
    return f". HSTU is ahead by {each}" + ("" if market is None else f"; market ROI {market:.4f}")


def causal(found: dict[str, Any]) -> str:
    """Tell how the estimates correlate with what is planted, by world and size."""
    scores = ("co-occurrence", "cosine", "Mantel-Haenszel, one normal", "doubly robust, shrunk")
    told = []
    for size, worlds in found["sizes"].items():
        for world, one in worlds.items():
            mean = one["mean"]
            each = ", ".join(f"{name} {mean['scores'][name]['pearson']:.3f}" for name in scores)
            held = mean["intervals"]["doubly robust"]["null"]["coverage"]
            told.append(f"{size} market, confounding {world}: {each} (intervals {held:.3f})")
    return f"{_seeds(found['seeds'])}: " + "; ".join(told)


def coverage(found: dict[str, Any]) -> str:
    """Tell how often the bounds of DR and SNIPS hold, below and above."""

    def held(table: dict[str, Any], interval: str) -> str:
        return " / ".join(f"{side['coverage']:.3f}" for side in table[interval].values())

    told = []
    for regime, one in found["coverage"].items():
        tables = {name: one["estimators"][name] for name in ("dr", "snips")}
        lines = [
            f"{name} {held(table, 'clustered')} (BCa {held(table, 'bca')})"
            for name, table in tables.items()
        ]
        told.append(f"{regime} (ESS {one['ess']:.0f}) " + ", ".join(lines))
    return f"{found['replications']} replications, lower / upper: " + "; ".join(told)


def refused(found: dict[str, Any]) -> str:
    """Tell how often each pre-check refuses each regime."""
    return "; ".join(
        f"{regime} " + ", ".join(f"{check} {share:.1%}" for check, share in one.items())
        for regime, one in ((name, one["refused_by"]) for name, one in found["coverage"].items())
    )


def looks(found: dict[str, Any]) -> str:
    """Tell how often nothing is promoted as something."""
    one, stream = found["looks"], found["looks"]["stream"]
    return (
        f"sequence and Holm {one['holm_sequence']:.1%} ({one['looks']} looks, {one['candidates']} "
        f"candidates), sequence on one {one['sequence_one']:.1%}; a new candidate on each of "
        f"{stream['days']} days {stream['promoted']:.1%} of {stream['streams']} streams; without "
        f"them: normal bound at every look {one['normal_looks']:.1%}, best of "
        f"{one['candidates']} {one['normal_best']:.1%}"
    )


def market_looks(f: dict[str, Any]) -> str:
    """Tell how often each rule promotes on replays of the market in which nothing is better."""
    one, stream = f["looks"], f["stream"]
    return (
        f"{one['replays']} replays: sequence and Holm {one['holm_sequence']:.1%} "
        f"({one['looks']} looks, {one['candidates']} candidates), sequence on the model "
        f"{one['sequence_model']:.1%}; a new candidate on each of {stream['days']} days "
        f"{stream['promoted']:.1%} of {stream['streams']} streams; without them: normal bound at "
        f"every look {one['normal_looks']:.1%}, best of the candidates {one['normal_best']:.1%}"
    )


def power(found: dict[str, Any]) -> str:
    """Tell how often a better policy is promoted, by how much better it is."""
    curves = (
        f"{overlap}: " + ", ".join(f"{lift} {share:.2f}" for lift, share in curve.items())
        for overlap, curve in found["promoted"].items()
    )
    told = f"{found['replications']} replications; " + "; ".join(curves)
    return f"{told}. ![power](pictures/power.png)"


def trials(f: dict[str, Any]) -> str:
    """Tell the decisions on each scorer, its true lift, and what clipped weights would do."""
    told = []
    for scorer, one in f["scorers"].items():
        decisions = ", ".join(f"{count} {name}" for name, count in one["decisions"].items())
        low, high = one["true_lift"]
        told.append(
            f"{scorer} {decisions} (true lift {low:+.3f} to {high:+.3f}, inside the bounds in "
            f"{one['true_lift_inside']:.0%}; promoted by clipped weights "
            f"{one['promoted_if_weights_were_clipped']:.0%})"
        )
    return f"{f['trials']} trials each: " + "; ".join(told)


def volume(found: dict[str, Any]) -> str:
    """Tell seconds, memory and the ratio to a loop."""
    return (
        f"{found['seconds']} s, peak {found['peak_gb']} GB, "
        f"{found['times_faster_than_a_loop']} times as fast as a loop"
    )


def effects(found: dict[str, Any]) -> str:
    """Tell the average effect of each e-mail."""
    told = ", ".join(f"{mail} {value:.6f}" for mail, value in found["ate"].items())
    return f"{told} ({found['customers']:,} customers)"


def orders(found: dict[str, Any]) -> str:
    """Tell the Qini of every row of each table with interval and p-value, and how many tenths hold.

    A tenth holds if the effect foretold lies in the interval of the measured one.
    """
    told = []
    for mail, table in found["tables"].items():
        lines = []
        for name, row in table["rows"].items():
            qini = row["qini"]
            line = f"{name.replace('_', ' ')} {qini['value']:.4f}"
            line += f" [{qini['low']:.4f}, {qini['high']:.4f}], p {row['p_value']:.3f}"
            line += f", AUUC {row['auuc']['value']:.4f}"
            if tenths := table["deciles"].get(name):
                line += f", {_held(tenths)} of {len(tenths)} tenths hold"
            lines.append(line)
        told.append(f"{mail}: " + "; ".join(lines))
    return ". ".join(told)


def _held(tenths: list[dict[str, Any]]) -> int:
    return sum(
        one["measured"]["low"] <= one["predicted"] <= one["measured"]["high"] for one in tenths
    )


def mailings(found: dict[str, Any]) -> str:
    """Tell the value of each policy with its bounds, and the lifts of the learner."""
    each = [
        f"{name} {one['dr']:.4f} (SNIPS {one['snips']:.4f}, BCa {_pair(one['bca'])}, sequence "
        f"{_pair(one['sequence'])})"
        for name, one in found["policies"].items()
    ]
    lifts = [f"{name} {one['dr']:+.4f} {_pair(one['bca'])}" for name, one in found["lifts"].items()]
    return "; ".join(each) + ". Lifts: " + "; ".join(lifts)


def _pair(bounds: list[float]) -> str:
    return f"[{bounds[0]:.4f}, {bounds[1]:.4f}]"


def _seeds(found: Sized) -> str:
    return f"{len(found)} seed" + "s" * (len(found) > 1)

"""What can be seen of a codebook under noise, and what its codes keep and know."""

from __future__ import annotations

import statistics

from benchmarks.report.page import Found, Section

_BAD = 3
_LEAST_USE, _LEAST_FIRST, _LEAST_DEEPER, _MOST_COLLIDE = 0.8, 0.7, 0.5, 0.01
_DEFAULT, _OTHER = "rkmeans", "rqvae"
QUANTIZERS = {_DEFAULT: "residual k-means", _OTHER: "RQ-VAE"}
WORLDS = {"market": "market", "far-trans": "FAR-Trans", "amazon": "Beauty"}


def _named(world: str) -> str:
    name, _, seed = world.partition("-") if world.startswith("market") else (world, "", "")
    return WORLDS[name] + (f", seed {seed}" if seed else "")


def _mean(found: Found, case: str, name: str) -> float:
    return statistics.fmean(one[name] for one in found["planted"][case].values())


def _refused(found: Found, by: str) -> tuple[int, int]:
    """Count planted bad codebooks that a figure refuses, of all."""
    counts = [one[by] for one in found["refused"].values()]
    return sum(counts), _BAD * len(counts)


def _used(found: Found) -> list[bool]:
    """Ask of each level of the default quantizer whether it is used as much as is asked."""
    told = []
    for one in found["worlds"].values():
        for depth, level in enumerate(one[_DEFAULT]["levels"]):
            least = _LEAST_FIRST if depth == 0 else _LEAST_DEEPER
            size = one[_DEFAULT]["size"]
            told += [level["used"] >= _LEAST_USE * size, level["perplexity"] >= least * size]
    return told


def _sees(found: Found) -> list[bool]:
    (noise, every), (rival, _) = (_refused(found, by) for by in ("noise", "perplexity"))
    return [noise == every, noise > rival]


def _stands_in(found: Found) -> list[bool]:
    """Ask whether a second encoding moves vectors at least as far as the later snapshot does."""
    timed = [one for one in found["worlds"].values() if "moved" in one]
    return [one[_DEFAULT]["noise"] >= one["moved"] for one in timed]


def _collide(found: Found) -> list[bool]:
    return [
        one[_DEFAULT]["collision_rate_balanced"] < _MOST_COLLIDE for one in found["worlds"].values()
    ]


def _first(found: Found) -> list[float]:
    """Perplexity of the first level by its codewords, of the default quantizer."""
    coded = [one[_DEFAULT] for one in found["worlds"].values()]
    return [one["levels"][0]["perplexity"] / one["size"] for one in coded]


def _deeper(found: Found) -> list[float]:
    coded = [one[_DEFAULT] for one in found["worlds"].values()]
    return [level["perplexity"] / one["size"] for one in coded for level in one["levels"][1:]]


def _levels(one: Found, name: str, spec: str) -> str:
    return " / ".join(format(level[name], spec) for level in one["levels"])


def _flips(one: Found) -> str:
    return " / ".join(f"{share:.1%}" for share in one.get("moved_flips", ())) or "no times"


def _together(one: Found) -> str:
    first = one["levels"][0]
    return f"{first['hit_rate'] / first['hit_chance']:.1f}"


def _least_geometry(one: Found) -> float:
    """Return the least part that noise leaves, of any level or of whole codes."""
    return float(min([one["geometry"], *(level["geometry"] for level in one["levels"])]))


SECTIONS = (
    Section(
        "sid_health",
        {"sees": _sees, "used": _used, "collide": _collide, "stands_in": _stands_in},
        {
            "mean": _mean, "refused": _refused, "named": _named, "first": _first,
            "deeper": _deeper, "levels": _levels, "flips": _flips, "together": _together,
            "least_geometry": _least_geometry, "QUANTIZERS": QUANTIZERS,
        },
    ),
)  # fmt: skip

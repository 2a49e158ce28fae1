"""What the house costs: data, pipeline, training speed, growth."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.report import speed
from benchmarks.report.page import Figure, Found, Section, parts, table

_BIG = "10000000 events"


def _seconds(title: str, key: str, limit: float) -> Figure:
    """Ask one figure of the house to stay under so many seconds."""
    return Figure(
        title,
        f"under {limit:g} s",
        lambda f: f"{f[key]} s" if key in f else "",
        lambda f: [f[key] < limit],
    )


def _ingest_table(found: Found) -> str:
    return table(
        ["events", "s", "of it ingest, s", "CPU s", "peak MB", "events/s", "quarantined"],
        (
            [
                f"{one['events_in']:,.0f}",
                one["seconds"],
                one["ingest_seconds"],
                one["cpu_seconds"],
                f"{one['peak_rss_mb']:,.0f}",
                f"{one['events_per_second']:,}",
                f"{one['events_quarantined']:,.0f}",
            ]
            for one in found.values()
        ),
    )


def _house_table(found: Found) -> str:
    names = {
        "repro_with_nothing_to_do_s": "`dvc repro` with nothing to do",
        "dag_parse_s": "parsing the Airflow DAGs",
        "rollback_s": "`tessera rollback`",
        "main_job_s": "main job",
        "bare_stages_s": "the same stages, bare",
    }
    rows = [[name, found[key]] for key, name in names.items() if key in found]
    turns = "; ".join(f"{bare} and {whole}" for bare, whole in found["turns_s"])
    return parts(
        table(["act", "s"], rows),
        f"Medians of {found['runs']} runs; the overhead of pairs of runs in turns (bare and main "
        f"job, s): {turns}.",
    )


def _sizes(found: Found) -> Found:
    return {size: one for size, one in found.items() if size != "growth"}


def _scale_told(found: Found) -> str:
    sizes = _sizes(found)
    told = ", ".join(sizes)
    growth = [stage for one in found.get("growth", {}).values() for stage in one.values()]
    if not growth:
        return told
    steepest = {key: max(one[key] for one in growth) for key in ("seconds", "heap_mb")}
    return (
        f"{told}; exponents at most {steepest['seconds']} in seconds, {steepest['heap_mb']} in heap"
    )


def _growth_table(found: Found, key: str, title: str) -> str:
    sizes, growth = _sizes(found), found.get("growth", {})
    stages = [name for name in next(iter(sizes.values())) if name != "events"]
    return table(
        [f"stage: {title}", *sizes, *(f"exponent, {step}" for step in growth)],
        (
            [
                stage,
                *(one[stage][key] for one in sizes.values()),
                *(one[stage][key] for one in growth.values()),
            ]
            for stage in stages
        ),
    )


def _scale_tables(found: Found) -> str:
    sizes = ", ".join(f"{size} is {one['events']:,} events" for size, one in _sizes(found).items())
    keys = {"seconds": "seconds", "peak_mb": "peak MB", "heap_mb": "heap MB"}
    return parts(f"{sizes}.", *(_growth_table(found, key, name) for key, name in keys.items()))


def _under(**limits: float) -> Callable[[Found], list[bool]]:
    return lambda found: [found[key] < limit for key, limit in limits.items()]


SECTIONS = (
    Section(
        "synth",
        "Market of 10 million events",
        "How long the embedded market (the simulator whose true answers are known) takes to write "
        "10 million events, most of them views, and how much memory it holds at its peak.",
        "`make bench`, alone `python -m benchmarks synth`",
        (
            Figure(
                "market of 10 million events",
                "under 120 s",
                lambda f: f"{f['seconds']} s",
                _under(seconds=120),
            ),
        ),
        lambda f: table(
            ["events", "rows", "s", "CPU s", "events/s", "peak GB"],
            [
                [
                    f"{f['events']:,}",
                    f"{f['rows']:,}",
                    f["seconds"],
                    f["cpu_seconds"],
                    f"{f['events_per_s']:,}",
                    f["peak_gb"],
                ]
            ],
        ),
    ),
    Section(
        "ingest",
        "Ingest and validation",
        "How long stage `ingest` and the validation of its tables take on made-up market events, "
        "and the peak memory of the process. Quarantined rows broke a rule of the contract; they "
        "were planted.",
        "`make bench`, alone `python -m benchmarks ingest`",
        (
            Figure(
                "ingest and validate 10 million market events",
                "under 90 s and 4 GB",
                lambda f: f"{f[_BIG]['seconds']} s, peak {f[_BIG]['peak_rss_mb'] / 1024:.2f} GB",
                lambda f: _under(seconds=90, peak_rss_mb=4096)(f[_BIG]),
            ),
        ),
        _ingest_table,
    ),
    Section(
        "house",
        "The pipeline itself",
        "What it costs to run the stages as a pipeline, on a market that ran: a `dvc repro` that "
        "finds nothing to do, parsing the DAGs, going back to the version before (MLflow's alias "
        "included), and the overhead: how much longer the main job (repro, validation, tracking, "
        "publishing) takes than one process that calls the same stages and does nothing else.",
        "`make run`, then `make bench`, alone `python -m benchmarks house`",
        (
            _seconds("`dvc repro` with nothing to do", "repro_with_nothing_to_do_s", 5),
            _seconds("DAG parse", "dag_parse_s", 3),
            _seconds("`tessera rollback`, MLflow's alias included", "rollback_s", 5),
            Figure(
                "overhead of the main job over the bare stages",
                "under 10 %",
                lambda f: f"{f['overhead']:.1%}",
                _under(overhead=0.1),
            ),
        ),
        _house_table,
    ),
    speed.SECTION,
    Section(
        "scale",
        "Growth with the market",
        "Seconds and memory of the stages up to the verdict at multiples of the market; investors "
        "and requests grow alike, items do not, and the trunk trains one epoch alone. Peak memory "
        "counts mapped files that the system may drop at any time, the heap does not. An exponent "
        "of 1 grows as the events do, 0 not at all.",
        "`make bench`, alone `python -m benchmarks scale`",
        (
            Figure(
                "the stages up to the verdict at multiples of the market",
                "1, 4 and 16 times, growth stated",
                _scale_told,
                lambda f: [*(size in f for size in ("1x", "4x", "16x")), bool(f.get("growth"))],
            ),
        ),
        _scale_tables,
    ),
)

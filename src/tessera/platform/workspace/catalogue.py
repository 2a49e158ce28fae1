"""Every stage of the pipeline, what it reads and what it writes: the only place where order exists.

The CLI, dvc.yaml, the Airflow DAG and the picture in the docs are all derived from this list.
"""

from __future__ import annotations

from dataclasses import dataclass

SEAL, PAGE_SEAL = "seal", "page_seal"
"""Artifacts that no stage writes by itself: the runner, which has the key, adds them to a verdict
and to its page."""
ANYWHERE = "stages"
"""Queue of the stages that any worker may run."""
SOURCE = "source"
"""Artifact that holds the raw files: of the market a stage writes it, else a person named it."""
MARKET = "market"
"""Source that is simulated; every other source is a folder that a person names."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One step: declared inputs in, declared outputs out, nothing else."""

    name: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    doc: str
    only: str | None = None
    """Source that the stage exists for; None for every source."""
    spec: str | None = None
    """Committed file that it reads besides code and params."""
    reads_params_of: str | None = None
    """Stage of whose section of params it reads a part; None reads its own."""
    has_params: bool = True
    """A person may turn something in it."""
    parallel: bool = False
    """Several processes of torchrun may run it together."""
    attests: tuple[str, ...] = ()
    """What its verdict is about beside what it reads: the rest of what a bundle is packed from."""
    judges: bool = False
    """It judges candidates: each look is written down, and the runner seals the verdict."""
    draws: bool = False
    """It draws what was judged, and judges nothing: the runner seals the page."""
    packs: bool = False
    """It packs what was judged, and nothing else: the runner compares and seals the bundle."""
    heavy: bool = False
    """It takes ten seconds of a processor or more on the embedded market, and grows with events:
    Airflow may be told how many such stages a machine carries at once."""
    on_gpu: bool = False
    """It trains on a GPU where there is one: Airflow may be told which workers have some."""

    @property
    def needs(self) -> tuple[str, ...]:
        """All that a change of makes it run again."""
        return self.reads + self.attests

    @property
    def makes(self) -> tuple[str, ...]:
        """What it writes by itself; seals are the runner's."""
        return tuple(name for name in self.writes if name not in (SEAL, PAGE_SEAL))

    @property
    def stays(self) -> bool:
        """It needs what one place alone has: the files that a person named, or registry and key."""
        return SOURCE in self.reads or self.judges or self.draws or self.packs

    @property
    def section(self) -> str | None:
        """Section of params.yaml that it reads, None if there is nothing to turn."""
        return (self.reads_params_of or self.name) if self.has_params else None

    @property
    def entry_point(self) -> str:
        """Module that holds its `run`."""
        return f"tessera.stages.{self.name}.stage"


SERVED = "served"
"""Source that reads what the service logged beside the files of another."""
PINS = ("request", "champion", "ledger_in", "served")
"""State that `tessera snapshot` copies into the run, so that stages stay pure."""

ALL_STAGES = (
    Stage("synth", (), ("source",), "simulate the embedded market", only=MARKET),
    Stage(
        "ingest",
        ("source", "request", "served"),
        (
            "events",
            "items",
            "users",
            "prices",
            "exposures",
            "outcomes",
            "links",
            "queries",
            "quarantine",
            "split",
            "suitability",
        ),
        "turn raw files into validated tables, split by time",
    ),
    Stage(
        "causal",
        ("events", "users", "split"),
        ("effects",),
        "estimate item-item effects",
        heavy=True,
    ),
    Stage(
        "graph",
        ("events", "items", "effects", "links", "split"),
        ("edges", "nodes"),
        "build the item graph and its topology",
    ),
    Stage(
        "sid",
        ("items", "nodes", "edges", "events", "prices", "queries", "split", "ledger_in"),
        ("codes", "codebook", "ledger_out", "sid_health"),
        "quantize items into semantic IDs",
    ),
    Stage(
        "uplift",
        ("events", "exposures", "users", "items", "split"),
        ("cate", "cate_later", "uplift_report"),
        "estimate what showing an item changes",
        heavy=True,
    ),
    Stage(
        "hstu",
        (
            "events",
            "items",
            "users",
            "prices",
            "exposures",
            "outcomes",
            "edges",
            "codes",
            "cate",
            "cate_later",
            "split",
            "champion",
        ),
        ("model", "item_vectors", "user_vectors", "lists", "scores", "training", "facts"),
        "train the trunk, list and score",
        parallel=True,
        heavy=True,
        on_gpu=True,
    ),
    Stage(
        "baselines",
        (
            "events",
            "items",
            "users",
            "prices",
            "exposures",
            "outcomes",
            "edges",
            "codes",
            "cate",
            "split",
        ),
        ("baseline_lists", "baseline_training"),
        "train plainer models beside the trunk",
        reads_params_of="hstu",
        heavy=True,
    ),
    Stage(
        "evaluate",
        ("events", "items", "users", "prices", "lists", "baseline_lists", "split", "suitability"),
        ("ranking", "curves"),
        "measure ranking and profit beside the baselines",
    ),
    Stage(
        "ope",
        (
            "exposures",
            "outcomes",
            "scores",
            "items",
            "users",
            "prices",
            "split",
            "suitability",
            "ranking",
            "model",
            "champion",
            "codes",
            "sid_health",
        ),
        ("verdict", SEAL),
        "judge the candidate off-policy against the champion",
        attests=(
            "events",
            "edges",
            "facts",
            "item_vectors",
            "user_vectors",
            "codebook",
            "ledger_out",
        ),
        judges=True,
        heavy=True,
    ),
    Stage(
        "report",
        ("verdict",),
        ("verdict_page", PAGE_SEAL),
        "draw the page of the verdict",
        has_params=False,
        draws=True,
    ),
    Stage(
        "index",
        (
            "events",
            "items",
            "users",
            "edges",
            "codes",
            "item_vectors",
            "user_vectors",
            "model",
            "facts",
            "codebook",
            "ledger_out",
            "champion",
            "verdict",
            SEAL,
            "ranking",
            "split",
        ),
        ("bundle",),
        "pack the candidate bundle",
        packs=True,
    ),
    Stage(
        "monitor",
        ("events", "exposures", "items", "users", "lists", "baseline_lists", "split"),
        ("watch",),
        "watch drift and popularity bias",
        spec="monitoring/watch.yaml",
    ),
)


def stages(source: str) -> tuple[Stage, ...]:
    """Stages of a pipeline that starts from this source, in order."""
    return tuple(stage for stage in ALL_STAGES if stage.only in (None, source))


def author(artifact: str, among: tuple[Stage, ...]) -> Stage | None:
    """Return the stage that writes an artifact, None if it is given."""
    return next((stage for stage in among if artifact in stage.writes), None)


def upstream(stage: Stage, among: tuple[Stage, ...]) -> tuple[str, ...]:
    """Names of the stages whose artifacts this one reads, in catalogue order."""
    authors = {author(name, among) for name in stage.needs}
    return tuple(other.name for other in among if other in authors)


def behind(stage: Stage, among: tuple[Stage, ...]) -> tuple[str, ...]:
    """Names of the stages that a stage's inputs come from, directly or not, and its own."""
    found, waiting = {stage.name}, [stage]
    while waiting:
        for name in upstream(waiting.pop(), among):
            if name not in found:
                found.add(name)
                waiting += [other for other in among if other.name == name]
    return tuple(other.name for other in among if other.name in found)


def answers_for(stage: Stage, among: tuple[Stage, ...]) -> tuple[str, ...]:
    """Sections of params that a verdict is about: of all behind it, and of the stage that packs.

    Another stage answers for its own section alone.
    """
    mine = {stage.name}
    if stage.judges:
        mine = {*behind(stage, among), *(other.name for other in among if other.packs)}
    sections = (other.section for other in among if other.name in mine)
    return tuple(dict.fromkeys(name for name in sections if name))


def aside(among: tuple[Stage, ...]) -> tuple[str, ...]:
    """Names of the stages that only tell: no verdict is about what they write, no bundle holds it.

    >>> aside(ALL_STAGES)
    ('report', 'monitor')
    """
    counts = {other.name for other in among if other.packs}
    for judge in (other for other in among if other.judges):
        counts.update(behind(judge, among))
    return tuple(other.name for other in among if other.name not in counts)


def find(name: str, among: tuple[Stage, ...]) -> Stage | None:
    """Return the stage of that name."""
    return next((stage for stage in among if stage.name == name), None)

"""What a person reads at the end of a run: rows, graph, codes, ranking, verdict, three lists."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from tessera.bundles import manifest
from tessera.contracts.errors import BadInput, BrokenBundle
from tessera.contracts.verdict import FORMAT
from tessera.platform.cli.cautions import cautions
from tessera.platform.release import bundles, pointer, registry, seals
from tessera.platform.release.history import history, override_of, waits
from tessera.platform.release.verdict_text import evidence
from tessera.platform.workspace import files
from tessera.platform.workspace.paths import DEFAULT_PROFILE, Workspace

_COLOURS = {"PROMOTE": "green", "HOLD": "yellow", "REJECT": "red", "INVALID": "magenta"}
_SHOWN = {
    "hr_10": "hr@10",
    "ndcg_10": "ndcg@10",
    "recall_50": "recall@50",
    "coverage_10": "coverage",
    "roi_10": "roi@10",
}
"""Figures of a model, and how their columns are headed."""
_YOUNG = {"cold_items": "cold", "born_after_cut": "later"}
"""Slices of items with little or no past, whose recall@10 is shown."""
_WIDTH = 100
_INVESTORS = 3
_ITEMS = 3


def show(workspace: Workspace, done: registry.Published, console: Console | None = None) -> None:
    """Print the summary of a profile whose pipeline is up to date."""
    out = console or Console(width=_WIDTH)
    out.rule(f"[bold]Tessera: {workspace.profile}")
    _facts(workspace, out)
    ranking = files.read_json(workspace.artifact("ranking"))
    out.print(_ranking_table(ranking))
    for caution in cautions(workspace, ranking):
        out.print(f"[bold red]look[/]: {escape(caution)}")
    show_verdict(workspace, out)
    _publication(workspace, done, out)
    _override(workspace, out)
    if done.version:
        _lists(workspace, out)
    _next_steps(workspace, done, out)


def show_verdict(
    workspace: Workspace, console: Console | None = None, *, version: str | None = None
) -> None:
    """Print the verdict on the candidate, or on a published version, with its bounds and checks.

    Raises
    ------
    BadInput
        If no candidate was judged yet, or there is no such verdict.
    BrokenBundle, BrokenSeal
        If it is not as a run of this registry wrote it.
    """
    path = _verdict(workspace, version)
    out = console or Console(width=_WIDTH)
    verdict = _read(workspace, path, version)
    decision = str(verdict["decision"])
    lines = [f"[bold {_COLOURS[decision]}]{decision}[/]: {escape(verdict['reason'])}"]
    lines += evidence(verdict)
    if approver := _approver(path):
        lines.append(f"approved by {escape(approver)}")
    if version is None and _waits(workspace):
        command = f"tessera promote{_option(workspace)} --approver NAME"
        lines.append(f"[bold]waits for approval[/]: `{command}`, or the UI")
    if page := bundles.checked_page(workspace, path):
        lines.append(f"with pictures: {escape(_near(page, workspace))}")
    out.print(Panel("\n".join(lines), title="verdict", title_align="left", width=_WIDTH))


def _read(workspace: Workspace, path: Path, version: str | None) -> dict[str, Any]:
    """Read a verdict that is under seal, and whose bundle is too if it was published."""
    if version:
        bundles.checked(workspace, path.parent)
    return bundles.checked_verdict(workspace, path)


def _approver(verdict: Path) -> str | None:
    """Name who answers for the bundle of a verdict; nobody does where the verdict published it."""
    sealed = verdict.with_name(manifest.MANIFEST)
    name = files.read_json(sealed).get("approver") if sealed.exists() else None
    return str(name) if name else None


def save_page(workspace: Workspace, page: Path, version: str | None = None) -> None:
    """Write the page of the verdict on the candidate, or on a published version, anew.

    Raises
    ------
    BadInput
        If there is no such verdict or it is of another format, or no file can be written there.
    """
    from tessera.stages.report.page import page_of  # matplotlib takes a second

    path = _verdict(workspace, version)
    if _read(workspace, path, version).get("version") != FORMAT:
        beside = path.with_suffix(".html")
        raise BadInput(
            f"{_near(path, workspace)} is of another format: take {_near(beside, workspace)}"
        )
    files.write_page(page_of(path), page)


def check_signature(workspace: Workspace, version: str | None = None) -> str:
    """Check a verdict by the public key alone, as an auditor would; return what was found.

    Raises
    ------
    BrokenBundle
        If the verdict was not signed by the key of this registry, or changed since.
    BadInput, BrokenSeal
        If there is no such verdict, or no public key.
    """
    path = _verdict(workspace, version)
    public = seals.public_key(workspace)
    page = path.with_name(manifest.PAGE)
    for signed in (path, page) if page.exists() else (path,):
        wrong = bundles.fault(workspace, signed, partial(seals.signature_fault, public))
        if wrong:
            raise BrokenBundle(f"{_near(signed, workspace)} {wrong}")
    return f"{_near(path, workspace)} and its page are as signed by {public.hex()}"


def _waits(workspace: Workspace) -> bool:
    bundle = workspace.artifact("bundle")
    return bundle.exists() and waits(history(workspace), manifest.read_manifest(bundle)["identity"])


def _verdict(workspace: Workspace, version: str | None) -> Path:
    path = workspace.artifact("verdict")
    if version:
        path = workspace.bundles / version / "verdict.json"
    if not path.exists():
        whose = f" on {version}" if version else ""
        raise BadInput(f"no verdict{whose} yet: run `tessera run --profile {workspace.profile}`")
    return path


def _near(path: Path, workspace: Workspace) -> str:
    return str(path.relative_to(workspace.root) if path.is_relative_to(workspace.root) else path)


def _metrics(workspace: Workspace, stage: str) -> dict[str, float]:
    path = workspace.metrics(stage)
    return dict(files.read_json(path)) if path.exists() else {}


def _facts(workspace: Workspace, out: Console) -> None:
    ingest, graph = _metrics(workspace, "ingest"), _metrics(workspace, "graph")
    split = files.read_json(workspace.artifact("split"))
    grid = Table.grid(padding=(0, 2))
    grid.add_row("rows", f"{ingest['rows_in']:,.0f} in, {_quarantined(workspace, ingest)}")
    grid.add_row(
        "learnt until", f"{split['cut'][:16]} UTC, tested until {split['test_until'][:10]}"
    )
    edges = sum(value for key, value in graph.items() if key.startswith("edges_"))
    grid.add_row(
        "graph",
        f"{graph['items']:,.0f} items, {edges:,.0f} edges, {graph['communities']:,.0f} communities",
    )
    grid.add_row("semantic IDs", _codes(workspace))
    uplift = files.read_json(workspace.artifact("uplift_report"))
    if uplift["status"] == "ok":
        grid.add_row("uplift", _uplift(uplift["out_of_fold"]))
    out.print(grid)


def _quarantined(workspace: Workspace, ingest: dict[str, float]) -> str:
    count = ingest["rows_quarantined"]
    if not count:
        return "0 quarantined"
    import pyarrow.parquet as pq

    reasons = pq.read_table(workspace.artifact("quarantine"), columns=["reason"])["reason"]
    common = sorted(reasons.value_counts().to_pylist(), key=lambda row: -row["counts"])[:2]
    told = ", ".join(f"{row['counts']:,} {escape(row['values'])}" for row in common)
    return f"{count:,.0f} quarantined (most: {told})"


def _codes(workspace: Workspace) -> str:
    health = files.read_json(workspace.artifact("sid_health"))
    levels = ", ".join(
        f"level {number} uses {level['used']:.0f} codes, perplexity {level['perplexity']:.1f}"
        for number, level in enumerate(health["levels"], start=1)
    )
    return f"{levels}; {health['collision_rate']:.1%} collide before the suffix"


def _uplift(report: dict[str, Any]) -> str:
    ate = report["ate"]
    return (
        f"being shown is estimated to change the chance of buying by {ate['value']:+.4f} "
        f"[{ate['low']:+.4f}, {ate['high']:+.4f}]"
    )


def _ranking_table(ranking: dict[str, Any]) -> Table:
    later = ranking["slices"]["born_after_cut"].get("why")
    table = Table(
        "model",
        title=f"full-catalogue ranking of {ranking['users']:,} test investors",
        title_justify="left",
        caption="suited: hr@10 of what the investor may be shown; cold: recall@10 of items that "
        "nobody had at the cut, or that were on sale only shortly; later: of items first offered "
        f"after the cut{f' ({later})' if later else ''}",
        caption_justify="left",
    )
    columns = _columns(ranking)
    for head in columns:
        table.add_column(head, justify="right")
    for model in ranking["models"]:
        table.add_row(model, *(_cell(model, column) for column in columns.values()))
    return table


def _columns(ranking: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return the figure of each model by head of column, without what nobody has."""
    models: dict[str, dict[str, float]] = ranking["models"]
    found = {
        head: {model: one[name] for model, one in models.items() if name in one}
        for name, head in _SHOWN.items()
    }
    suited = (ranking.get("suited") or {}).get("models") or {}
    found["suited"] = {model: one["hr_10"] for model, one in suited.items()}
    for name, head in _YOUNG.items():
        young = ranking["slices"].get(name, {}).get("models") or {}
        found[head] = {model: one["recall_10"] for model, one in young.items()}
    return {head: column for head, column in found.items() if column}


def _cell(model: str, column: dict[str, float]) -> str:
    if model not in column:
        return ""
    text = f"{column[model]:.4f}"
    return f"[bold]{text}[/]" if column[model] == max(column.values()) else text


def _publication(workspace: Workspace, done: registry.Published, out: Console) -> None:
    if done.moved:
        out.print(f"[bold green]published {done.version}[/] in registry/{workspace.profile}/")
    elif done.version:
        out.print(
            f"[bold]{done.version} is published[/] in registry/{workspace.profile}/, nothing moved"
        )
    else:
        out.print("[bold]nothing is published[/]: the log cannot carry a promotion")


def _override(workspace: Workspace, out: Console) -> None:
    made = override_of(history(workspace))
    if made:
        who = f"{made.get('approver') or made.get('who')}, {made['at'][:10]}"
        told = escape(f"{made['to']} is published by override ({who}): ")
        out.print(f"[bold red]OVERRIDE[/] {told}{escape(made['override_reason'])}")


def _lists(workspace: Workspace, out: Console) -> None:
    # What serves takes seconds to import, and a verdict is read without it.
    import pyarrow.parquet as pq

    from tessera.contracts.split import load_split
    from tessera.platform.cli.listed import judged_candidates, judged_share
    from tessera.platform.workspace.params import serve_params
    from tessera.serve.recommend import Recommender

    bundle = pointer.current_bundle(workspace)
    users = pq.read_table(bundle / "users.parquet", columns=["user_id", "held", "risk_class"])
    rows = [row for row in users.to_pylist() if row["held"]]
    step = max(1, len(rows) // _INVESTORS)
    table = Table("investor", "risk", "recommended", "why", width=_WIDTH)
    recommender = Recommender.open(bundle, serve_params(workspace))
    for row in rows[::step][:_INVESTORS]:
        lines = recommender.recommend(row["user_id"], _ITEMS)
        if not lines:
            told = escape(recommender.why_empty(row["user_id"]))
            table.add_row(escape(str(row["user_id"])), str(row["risk_class"]), "", told)
        for number, line in enumerate(lines):
            who = (escape(str(row["user_id"])), str(row["risk_class"])) if number == 0 else ("", "")
            table.add_row(
                *who, escape(line.name), escape(line.reason), end_section=number == _ITEMS - 1
            )
    out.print(table)
    candidates = judged_candidates(
        workspace.artifact("exposures"), load_split(workspace.artifact("split")).cut
    )
    if (share := judged_share(recommender, candidates, _ITEMS)) is not None:
        out.print(
            f"[dim]{share:.1%} of what is listed was among the candidates that were judged; "
            "the rest is retrieved from the whole catalogue[/]"
        )


def _option(workspace: Workspace) -> str:
    return "" if workspace.profile == DEFAULT_PROFILE else f" --profile {workspace.profile}"


def _next_steps(workspace: Workspace, done: registry.Published, out: Console) -> None:
    profile = _option(workspace)
    listed = "anyone's list with reasons" + ("" if done.version else ", once published")
    lines = [
        ("tessera recommend <investor>" + profile, listed),
        ("tessera serve" + profile, "slates drawn as judged and logged, a console in the browser"),
        (
            f"data/{workspace.profile}/validation/index.html",
            "what was checked, what was quarantined",
        ),
        (f"data/{workspace.profile}/watch/index.html", "drift and popularity bias"),
        ("make ui", "the same through Airflow, curves in MLflow"),
    ]
    if not done.version:
        again = f'tessera promote{profile} --reason "<why>" --approver <name>'
        lines.insert(0, (again, "publish on your responsibility; recorded for ever"))
    grid = Table.grid(padding=(0, 2))
    for command, why in lines:
        grid.add_row(f"[cyan]{command}", why)
    out.print(Panel(grid, title="where to look next", title_align="left", width=_WIDTH))

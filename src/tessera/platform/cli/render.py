"""Everything that is rendered from the code and committed: one list, one check."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import tessera
from tessera.platform.cli.api_page import api_page
from tessera.platform.cli.readme import BLOCKS, with_blocks
from tessera.platform.cli.systems_page import PAGE, render_systems
from tessera.platform.pipeline.dvc import render as render_pipeline
from tessera.platform.validation.suites import rendered as render_suites
from tessera.platform.workspace.params_file import render_params
from tessera.platform.workspace.paths import (
    DEFAULT_PROFILE,
    find_root,
    open_workspace,
    profile_names,
)


def rendered(root: Path | None = None) -> Iterator[tuple[Path, str]]:
    """Yield each rendered file with the text that it should hold."""
    root = root or find_root()
    yield root / "params.yaml", render_params(open_workspace(DEFAULT_PROFILE, root))
    for name in profile_names(root):
        workspace = open_workspace(name, root)
        # A pipeline that nobody ran would make a plain `dvc pull` miss its files.
        if name == DEFAULT_PROFILE or workspace.dvc_yaml.exists():
            yield workspace.dvc_yaml, render_pipeline(workspace)
    for name, text in render_suites().items():
        yield root / "great_expectations" / name, text
    if (root / PAGE).parent.is_dir():
        yield root / PAGE, render_systems(root / "benchmarks" / "results")
        yield root / "docs" / "api.md", api_page(Path(tessera.__file__).parent)
    for page in BLOCKS:
        if (root / page).exists():
            text = (root / page).read_text()
            yield root / page, with_blocks(page, text, Path(tessera.__file__).parent)


def stale(root: Path | None = None) -> list[str]:
    """Names of the rendered files that do not hold what the code says."""
    return [
        path.relative_to(root or find_root()).as_posix()
        for path, text in rendered(root)
        if not path.exists() or path.read_text() != text
    ]


def render_all(root: Path | None = None) -> int:
    """Write every rendered file that is stale; return how many were."""
    count = 0
    for path, text in rendered(root):
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            count += 1
    return count

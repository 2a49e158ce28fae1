"""Where a person finds the page of a verdict, and how to have it made again."""

import io
import shutil

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tessera.contracts.errors import BadInput
from tessera.platform.cli import summary
from tessera.platform.cli.cli import app
from tessera.platform.release import acts, bundles
from tessera.platform.release.overrides import Override
from tessera.platform.workspace import files


@pytest.fixture
def judged(workspace, make_candidate, draw_page, repository):
    """A candidate with a whole verdict, beside the run and in the bundle that became v1."""
    bundle = make_candidate(workspace)
    acts.promote(workspace)
    example = repository / "tests" / "stages" / "report" / "verdict.json"
    shutil.copy(example, workspace.artifact("verdict"))
    made = bundles.seal_verdict(workspace, workspace.artifact("verdict"), {})
    files.write_json(made, workspace.artifact("seal"))
    draw_page(workspace)
    return bundle


def told(workspace, version=None):
    text = io.StringIO()
    summary.show_verdict(workspace, Console(file=text, width=200), version=version)
    return text.getvalue()


def test_the_page_lies_beside_the_verdict(workspace):
    assert workspace.artifact("verdict_page") == workspace.artifact("verdict").with_suffix(".html")


def test_what_is_printed_names_the_page_if_there_is_one(workspace, judged):
    assert "with pictures: data/market/verdict.html" in told(workspace)
    assert "with pictures: registry/market/bundles/v1/verdict.html" in told(workspace, "v1")
    workspace.artifact("verdict_page").unlink()
    assert "with pictures" not in told(workspace)


def test_what_is_printed_names_who_approved_it_if_anybody_had_to(workspace, judged, make_candidate):
    make_candidate(workspace, decision="HOLD", judged_against="v1", weight=2.0)
    acts.promote(workspace, override=Override("the trial went well", "R. Officer"))
    assert "approved by R. Officer" in told(workspace, "v2")
    assert "approved" not in told(workspace, "v1")


def test_the_page_of_a_verdict_can_be_written_anew(workspace, judged, tmp_path):
    summary.save_page(workspace, tmp_path / "mine.html")
    assert "Tessera verdict: PROMOTE" in (tmp_path / "mine.html").read_text()


def test_a_verdict_of_another_format_is_told_by_the_page_beside_it(workspace, judged, tmp_path):
    """That of v1 says no version at all."""
    with pytest.raises(BadInput, match=r"of another format: take .*/v1/verdict\.html"):
        summary.save_page(workspace, tmp_path / "old.html", "v1")
    assert "planted PROMOTE" in told(workspace, "v1")


def test_a_page_that_cannot_be_written_or_has_no_verdict_is_one_line(workspace, judged, tmp_path):
    with pytest.raises(BadInput, match="is a folder: name a file in it"):
        summary.save_page(workspace, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot write .*: File exists: name another file"):
        summary.save_page(workspace, tmp_path / "file" / "x.html")
    with pytest.raises(BadInput, match="no verdict on v9 yet"):
        summary.save_page(workspace, tmp_path / "x.html", "v9")


def test_the_command_says_where_it_wrote_the_page(workspace, judged, tmp_path, monkeypatch):
    monkeypatch.setenv("TESSERA_ROOT", str(workspace.root))
    page = tmp_path / "mine.html"
    done = CliRunner().invoke(app, ["verdict", "--page", str(page)])
    assert (done.exit_code, done.output.strip()) == (0, str(page))
    assert page.exists()


def test_who_has_to_approve_is_told_where_the_page_lies(workspace, judged):
    page = workspace.registry / "bundles" / "v1" / "verdict.html"
    assert acts.proposal(workspace, "v1")["page"] == page.as_uri()
    assert acts.proposal(workspace, "v0")["page"] is None, "the logging policy was never judged"

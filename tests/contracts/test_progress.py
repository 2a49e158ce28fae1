"""What a bar tells whoever waits: how far, how long still, and nothing where nobody looks."""

import re

import pytest

from tessera.contracts.progress import progress_bar


@pytest.fixture
def clock(monkeypatch):
    """Stop the clock of the bar; the test turns it."""
    now = [100.0]
    monkeypatch.setattr("rich.console.monotonic", lambda: now[0])
    return now


def last_line(text):
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    return re.split(r"[\r\n]+", plain.strip())[-1].split()


def test_a_bar_says_how_long_it_will_still_take(monkeypatch, capsys, clock):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with progress_bar("train", 5) as bar:
        for _ in range(3):
            clock[0] += 10
            bar.advance()
        bar.note("loss 0.500")
    what, *_, done, elapsed, remaining, loss, value = last_line(capsys.readouterr().err)
    assert (what, done, elapsed, remaining) == ("train", "3/5", "0:00:30", "0:00:20")
    assert (loss, value) == ("loss", "0.500")


def test_a_bar_of_one_step_is_silent(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress_bar("rank candidates", 1) as bar:
        bar.advance()
    assert capsys.readouterr() == ("", "")


def test_a_bar_is_silent_where_nobody_looks(capsys):
    with progress_bar("train", 5) as bar:
        bar.advance()
        bar.note("loss 0.500")
    assert capsys.readouterr() == ("", "")

"""What a newcomer reads holds: a short README, links that lead somewhere, commands that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.core
import typer.main

from tessera.platform.cli.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "docs/decisions/*.md")
    for path in sorted(ROOT.glob(pattern))
]
GUIDES = [page for page in PAGES if not page.startswith(("CHANGELOG", "docs/decisions/"))]
INVENTED = {"profiles/mybank.yaml"}
"""Files that a page tells people to make."""
MOST_WORDS = 900
_RENDERED = re.compile(r"<!-- (\w+) -->.*?<!-- /\1 -->", re.DOTALL)
_FENCED = re.compile(r"^ *```.*?^ *```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_QUOTED = re.compile(r"`([^`\n]+)`")
_COMMAND = re.compile(r"^(?:\$ )?(?:torchrun .* )?(tessera|make) (.+?)(?:\s+#.*)?$")
_PATH = re.compile(r"(?:src|tests|benchmarks|docs|profiles|dags|tasks|great_expectations)/[\w./-]+")


def prose(text):
    return _FENCED.sub("", _RENDERED.sub("", text))


def anchors(text):
    """Anchors that a page offers, as the usual renderers make them of its headings."""
    heads = re.findall(r"^#+ (.+)$", _FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken_links(page, text):
    """Links of a page to files or headings that are not there."""
    for link in _LINK.findall(prose(text)):
        if re.match(r"\w+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            yield link


def said_commands(text):
    """Commands that a page tells people to type, in code blocks and in the text."""
    fenced = [line.strip() for block in _FENCED.findall(text) for line in block.splitlines()]
    for said in [*fenced, *_QUOTED.findall(prose(text))]:
        if found := _COMMAND.match(said):
            yield found[1], found[2]


def wrong_words(words):
    """Return what in the words of a `tessera` command is neither a command nor its option."""
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    name = words[0]
    if name.startswith("-"):
        return [name] if name not in ("--help", "-h", "--version", "--debug") else []
    if name not in group.commands:
        return [name]
    known = {option for param in group.commands[name].params for option in param.opts}
    given = {word.partition("=")[0] for word in words[1:] if word.startswith("-")}
    return sorted(given - known - {"--help", "-h", "--debug"})


def made(makefile):
    """Targets of the Makefile; `bench-%` stands for every benchmark of its own."""
    heads = re.findall(r"^([a-z%][a-z%\- ]*):(?!=)", makefile, re.MULTILINE)
    return {target for head in heads for target in head.split()}


def test_the_readme_is_short():
    assert len(prose((ROOT / "README.md").read_text()).split()) <= MOST_WORDS


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    assert not list(broken_links(ROOT / page, (ROOT / page).read_text()))


@pytest.mark.parametrize("page", GUIDES)
def test_every_command_exists(page):
    targets = made((ROOT / "Makefile").read_text())
    for program, line in said_commands((ROOT / page).read_text()):
        words = shlex.split(line.split(" && ")[0])
        if program == "tessera":
            assert not wrong_words(words), f"{page}: tessera {line}"
        else:
            assert words[0] in targets or words[0].startswith("bench-"), f"{page}: make {line}"


@pytest.mark.parametrize("page", GUIDES)
def test_every_named_file_is_there(page):
    for said in _QUOTED.findall(prose((ROOT / page).read_text())):
        if _PATH.fullmatch(said) and said not in INVENTED:
            assert (ROOT / said).exists(), f"{page} names {said}"


def test_the_recipes_of_make_name_files_that_are_there():
    for name in _PATH.findall((ROOT / "Makefile").read_text()):
        if "." in name.rpartition("/")[2]:
            assert (ROOT / name).exists(), f"Makefile names {name}"


def test_a_broken_link_is_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Here\n[a](page.md) [b](#here) [c](gone.md) [d](page.md#there)\n")
    assert list(broken_links(page, page.read_text())) == ["gone.md", "page.md#there"]


def test_a_command_that_is_not_there_is_seen():
    assert wrong_words(["verdict", "--json"]) == []
    assert wrong_words(["verdict", "--jsn"]) == ["--jsn"]
    assert wrong_words(["judge"]) == ["judge"]


def test_words_of_blocks_are_not_counted():
    text = "one\n<!-- dag -->\ntwo\n<!-- /dag -->\nthree\n```\nfour\n```\nfive\n"
    assert prose(text).split() == ["one", "three", "five"]


def test_the_glossary_is_in_order_and_has_each_word_once():
    text = (ROOT / "docs/glossary.md").read_text()
    words = re.findall(r"^\| \*\*(.+?)\*\*( \([^|]*\))? \|", text, re.MULTILINE)
    keys = [(word.lower(), which.lower()) for word, which in words]
    assert len(keys) > 100
    assert keys == sorted(set(keys))

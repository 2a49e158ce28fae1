"""What every page of ours is made by."""

import pytest
from jinja2 import UndefinedError

from tessera.contracts.pages import templates

HEAD = "report_head.html"


def test_what_is_no_text_of_ours_cannot_become_html():
    page = templates("tessera.stages.monitor").get_template(HEAD)
    assert "<b>1</b>" not in page.render(title="<b>1</b>", name="lists", about="x")


def test_a_name_that_nobody_gave_is_an_error_and_no_gap():
    page = templates("tessera.stages.monitor").get_template(HEAD)
    with pytest.raises(UndefinedError, match="about"):
        page.render(title="x", name="lists")


@pytest.mark.parametrize("name", ["lists", "events"])
def test_a_block_at_the_end_of_a_line_glues_no_words(name):
    page = templates("tessera.stages.monitor").get_template(HEAD)
    words = page.render(title="x", name=name, about="y").split()
    assert "Rows" in words
    assert "<b>reference</b>" in words

"""A reason says something and a name names somebody, however long they are."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tessera.contracts import statements

BLANKS = [
    " " * 40,
    "\t\n\r\v\f" * 8,
    "\N{NO-BREAK SPACE}\N{IDEOGRAPHIC SPACE}\N{EM SPACE}\N{LINE SEPARATOR}" * 10,
    "\N{ZERO WIDTH SPACE}" * 40,
    "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NO-BREAK SPACE}\N{SOFT HYPHEN}\N{WORD JOINER}" * 10,
    "\N{BRAILLE PATTERN BLANK}" * 40,
    "\N{HANGUL FILLER}\N{HANGUL CHOSEONG FILLER}\N{HALFWIDTH HANGUL FILLER}" * 20,
    "\N{RIGHT-TO-LEFT OVERRIDE}" * 40,
    "\x00\x1b\ue000" * 20,
    "\N{COMBINING GRAPHEME JOINER}\N{VARIATION SELECTOR-16}" * 20,
]


@pytest.mark.parametrize("text", ["", *BLANKS, "." * 40, "1234567890 - 1234567890", "xxxxxxxxxxxx",
                                  "a a a a a a b b b b b b", "-\u00adx\u200b" * 20])  # fmt: skip
def test_a_reason_that_says_nothing_is_none(text):
    with pytest.raises(ValueError, match="in words"):
        statements.reason(text)


@pytest.mark.parametrize("text", ["", *BLANKS, "..", "42", "A", "A\u200b\u200b", " A "])
def test_a_name_of_nobody_is_none(text):
    with pytest.raises(ValueError, match="2 letters"):
        statements.name(text)


@pytest.mark.parametrize(
    "text",
    ["complaints of investors", "agreed: ticket 4711, see minutes", "жалобы клиентов",
     "客户投诉过多需要回退", "شكاوى العملاء"],
)  # fmt: skip
def test_a_reason_in_any_writing_stays_as_it_was_given(text):
    assert statements.reason(text) == text


@pytest.mark.parametrize("text", ["Ada", "Bo", "李明", "Zoë O'Neill-Nuñez", "svc-release"])
def test_names_of_people_stay_as_they_were_given(text):
    assert statements.name(text) == text


def test_what_is_recorded_is_one_line_without_hidden_marks():
    said = statements.reason("  agreed\n\nwith\u00a0\u2003the\u200b \u202eowner\u2800 ")
    assert said == "agreed with the owner"
    assert statements.name("\ufeffAda\u3000 Lovelace ") == "Ada Lovelace"


@given(st.text(max_size=60))
def test_what_passes_can_be_read_and_passes_again(text):
    for check in (statements.reason, statements.name):
        try:
            said = check(text)
        except ValueError:
            continue
        assert check(said) == said
        assert said == said.strip()
        assert not {unicodedata.category(one) for one in said} & {"Cc", "Cf", "Zl", "Zp"}

"""What of a text nobody sees or means: characters without width, odd blanks, Excel's guards."""

from __future__ import annotations

import re
import unicodedata

import pyarrow as pa
import pyarrow.compute as pc

BLANKS = " \t\r\n\v\f\x85\u2028\u2029"
"""White space that remains around a value once `_tidied` made the wide and narrow ones blanks."""
_WIDE = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
"""Blanks of other widths, which look like one in every table."""
_UNSEEN = re.compile(
    "[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]"
)
"""Characters without width and marks of direction.  The two joiners are not here: within words
they are spelling."""
_JOINERS = "\u200c\u200d"
_GUARDED = r'^="(.*)"$'
"""How tools make Excel keep the zeros before an id."""


def tidied(text: str, *, strip: bool = True) -> str:
    """Compose letters with their accents and, if asked, take away what is no part of a value.

    >>> tidied(" A\u00a01\ufeff"), tidied('="007"')
    ('A 1', '007')
    """
    composed = unicodedata.normalize("NFC", text)
    if not strip:
        return composed
    seen = _UNSEEN.sub("", _WIDE.sub(" ", composed)).strip(BLANKS + _JOINERS)
    return re.sub(_GUARDED, r"\1", seen, flags=re.DOTALL)


def tidied_column(text: pa.Array, *, strip: bool = True) -> pa.Array:
    """Do the same to a whole column; plain columns take no detour."""
    if not pc.all(pc.string_is_ascii(text)).as_py():
        coded = text.dictionary_encode()
        found = [tidied(one, strip=strip) for one in coded.dictionary.to_pylist()]
        return pa.array(found, pa.string()).take(coded.indices)
    if not strip:
        return text
    seen = pc.utf8_trim(text, characters=BLANKS)
    if not pc.any(pc.starts_with(seen, '="')).as_py():
        return seen
    return pc.replace_substring_regex(seen, f"(?s){_GUARDED}", r"\1")

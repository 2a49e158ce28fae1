"""The one place where errors of libraries become errors of ours: one line that says what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from tessera.contracts.errors import TesseraError

_LONGEST = 300
_FULL = (errno.ENOSPC, errno.EDQUOT)


def first_line(error: BaseException) -> str:
    r"""Return what a library says, without the pages that follow it.

    >>> first_line(ValueError("no column `ts`\n\nDid you mean ..."))
    'no column `ts`'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:_LONGEST]


@contextmanager
def translate_errors(kind: type[TesseraError], what: str, remedy: str) -> Iterator[None]:
    """Let whatever a library raises in the block leave as one error of ours.

    Parameters
    ----------
    kind : type
        Class of the error that leaves.
    what : str
        What was being done, with the file.
    remedy : str
        What a person does about it, in the imperative.

    Raises
    ------
    TesseraError
        Of that kind; one that is ours already passes as it is.
    """
    try:
        yield
    except TesseraError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            raise TesseraError(f"{what}: no space left on the device: free some space") from error
        raise kind(f"{what}: {library(error)} says {first_line(error)!r}: {remedy}") from error


def library(error: BaseException) -> str:
    """Name the library that an error comes from: where it was raised, else where it is defined.

    >>> library(ValueError("bad"))
    'Python'
    """
    name = type(error).__module__.partition(".")[0]
    trace = error.__traceback__
    while trace is not None and name == "builtins":
        if trace.tb_next is None:
            name = str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        trace = trace.tb_next
    ours = ("builtins", "", "tessera", "__main__")
    return "Python" if name in ours else name.lstrip("_")

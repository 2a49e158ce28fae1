"""Where `tessera` starts: hand a stage to the fork server if there is one, else read the words.

Nothing heavy is imported here: under dvc this is all that a stage's own process loads.
"""

from __future__ import annotations

import os
import sys

from tessera.platform.pipeline.forkserver import ADDRESS, WORD, delegate, serve


def main() -> None:
    """Run the command line here or in a fork that has everything imported."""
    words = sys.argv[1:]
    if words[:1] == [WORD]:
        serve(words[1], _prepare, _read_words)
        return
    if os.environ.get(ADDRESS) and words[:1] == ["run"]:
        try:
            code = delegate(sys.argv)
        except KeyboardInterrupt:
            code = 130
        if code is not None:
            raise SystemExit(code)
    _read_words()


def _read_words() -> None:
    from tessera.platform.cli.cli import main as read

    read()


def _prepare() -> None:
    import tessera.platform.cli.cli
    import tessera.platform.pipeline.runner
    import tessera.platform.validation.validation  # noqa: F401

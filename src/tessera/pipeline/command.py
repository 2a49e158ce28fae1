"""Where `tessera` starts: hand a stage to the fork server if there is one, else read the words.

Nothing heavy is imported here: under dvc this is all that a stage's own process loads.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line here or in a fork that has everything imported."""
    if os.environ.get("TESSERA_FORKSERVER") and sys.argv[1:2] == ["run"]:
        from tessera.pipeline.forkserver import delegate

        try:
            code = delegate(sys.argv)
        except KeyboardInterrupt:
            code = 130
        if code is not None:
            raise SystemExit(code)
    from tessera.pipeline.cli import main as read_words

    read_words()

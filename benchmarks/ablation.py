"""What each part of the model is worth on the market: `tessera ablate`, kept beside the others.

Usage: python -m benchmarks.ablation [--seeds 3]   after `make run`; a killed run resumes
"""

from __future__ import annotations

import argparse

from benchmarks.common import ROOT, write_result
from tessera.platform.pipeline.ablate import compared
from tessera.platform.workspace.paths import DEFAULT_PROFILE, open_workspace


def main() -> None:
    """Train without each part, and with what is off, and write results/ablation.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    told = compared(open_workspace(DEFAULT_PROFILE, ROOT), (), parser.parse_args().seeds, None)
    shown = {
        part: [{name: v for name, v in one.items() if name != "part"} for one in found]
        for part, found in told.items()
    }
    write_result("ablation", shown)


if __name__ == "__main__":
    main()

"""What lives as long as a bundle is looked through once, not while somebody waits.

The collector of cycles stops everything, and with a bundle and a hundred thousand investors in
memory it takes some tenths of a second whenever it goes through all of it.
"""

from __future__ import annotations

import gc


def settle() -> None:
    """Free what is gone, and leave what is there out of all later collections."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


def release() -> None:
    """Let what `settle` left out be collected again, else libraries tell at the end of leaks."""
    gc.unfreeze()

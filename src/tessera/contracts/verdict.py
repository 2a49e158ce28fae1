"""What the writer of verdict.json and its readers agree on beside its keys."""

from __future__ import annotations

FORMAT = 2
"""Version of verdict.json.  Of one that was written by another, readers tell decision and reason
alone: the rest stands on the page that lies beside it."""
OF_CHAMPION = "for the champion, "
"""How a check begins that the champion's own policy fails: no param of the candidate mends it."""

"""Models that learn by gradient beside the trunk: SASRec, two towers, and rankers of its slates."""

"""Items, their topology and neighbours enter; semantic IDs, codebook and ledger leave.

Content and graph neighbourhood of an item become a vector, the vector a short code, coarse first
(TIGER, Rajput et al. 2023), by residual k-means or RQ-VAE (Zeghidour et al. 2021).  A code once
given is never changed: the ledger freezes the codebook and remembers every item.
"""

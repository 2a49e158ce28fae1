"""Next-item model: event sequences in; weights, vectors, lists and request scores out.

Reads events, items, users, exposures, codes, split and the champion's bundle; writes model,
item_vectors, user_vectors, lists, scores and training.  Papers: Zhai et al. 2024, "Actions Speak
Louder than Words" (HSTU, arXiv 2402.17152); Kang and McAuley 2018 (SASRec, arXiv 1808.09781).
"""

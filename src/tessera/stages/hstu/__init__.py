"""Next-item model with a ranking head: histories in; weights, vectors, lists, request scores out.

Reads events, items, users, prices, exposures, outcomes, edges, codes, split and the champion's
bundle; writes model, item_vectors, user_vectors, lists, scores and training.  Papers: Zhai et al.
2024, "Actions Speak Louder than Words" (HSTU, arXiv 2402.17152); Kang and McAuley 2018 (SASRec,
arXiv 1808.09781); one trunk for recall and ranking: UniPinRec, arXiv 2606.00422.
"""

"""Exposures and purchases enter; the effect of being shown an item leaves, out of fold.

X-learner: Kuenzel, Sekhon, Bickel, Yu, arXiv 1706.03461; cross-fitting: Chernozhukov et al., arXiv
1608.00060; Qini: Radcliffe, 2007.
"""

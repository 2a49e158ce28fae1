"""Exposures and purchases enter; the effect of being shown an item leaves, out of fold.

S-, T- and X-learner: Kuenzel, Sekhon, Bickel, Yu, arXiv 1706.03461; DR-learner: Kennedy, arXiv
2004.14497; cross-fitting: Chernozhukov et al., arXiv 1608.00060; Qini: Radcliffe, 2007.
"""

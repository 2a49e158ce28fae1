"""Exposures and purchases enter; the effect of being shown an item leaves, out of time.

X-learner: Kuenzel, Sekhon, Bickel, Yu, arXiv 1706.03461; Qini: Radcliffe, 2007.
"""

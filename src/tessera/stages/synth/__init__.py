"""The embedded market: parameters enter, the raw files of a bank with known answers leave.

Its logging policy, causal effects and true policy values are known, so that every later stage can
be judged against the truth (the idea of Open Bandit's synthetic data, arXiv 2008.07146).
"""

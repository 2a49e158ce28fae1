"""Exposures, outcomes and scores enter; a verdict leaves: promote, hold, reject, or cannot tell.

Estimators: Dudik, Langford, Li, arXiv 1103.4601; slates: McInerney et al., arXiv 2007.12986 and
Kiyohara et al., arXiv 2202.01562; bound: Waudby-Smith et al., arXiv 2210.10768.
"""

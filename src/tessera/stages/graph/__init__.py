"""Events before the cut, items and causal effects enter; weighted edges and topology leave.

Who is acquired with whom, what follows what, what causes what, and what is declared; and where each
item stands in it (PageRank of Page et al. 1999, k-core of Seidman 1983, clustering of Watts and
Strogatz 1998, communities of Blondel et al. 2008).
"""

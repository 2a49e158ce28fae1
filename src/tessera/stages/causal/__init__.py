"""Events before the cut and investors enter; item-item causal effects leave.

What acquiring one item does to acquiring another later, adjusted for who the investor is: nested
trials over time (Hernan & Robins 2016), doubly robust partialling-out (Robinson 1988), shrunk by
empirical Bayes with a mixture of normals about zero (Stephens 2017).
"""

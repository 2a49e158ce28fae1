"""Events before the cut and investors enter; item-item causal effects leave.

What acquiring one item does to acquiring another later, adjusted for who the investor is: nested
trials over time (Hernan & Robins 2016), a prognostic score for activity (Hansen 2008), pooled over
strata of investors by Mantel and Haenszel (1959), shrunk by empirical Bayes (Efron & Morris 1975).
"""

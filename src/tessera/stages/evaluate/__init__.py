"""The held-out period enters; ranking, profit and diversity of every model leave.

Enters: events, items, users, prices, lists (top items of the trained models), split.
Leaves: ranking (JSON), curves (CSV by k and by slice, one picture).
Protocol: FAR-Trans (arXiv 2407.08692); EASE (arXiv 1905.03375); ALS (Hu, Koren & Volinsky 2008).
"""

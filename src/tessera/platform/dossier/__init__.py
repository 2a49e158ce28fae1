"""One document for auditors: what was in force in a period, on what evidence, and what is missing.

Its order is that of Annex IV of Regulation (EU) 2024/1689 (the AI Act), beside each part the place
in SR 11-7 of the Federal Reserve (Guidance on Model Risk Management) that asks for the same.
"""

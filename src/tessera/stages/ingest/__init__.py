"""Raw files of a source enter; validated tables, a quarantine and the split by time leave.

Sources: the embedded market, FAR-Trans (arXiv 2407.08692), MovieLens (doi 10.1145/2827872), Amazon
2014 5-core sequences, and any CSV or Parquet with a column mapping.
"""

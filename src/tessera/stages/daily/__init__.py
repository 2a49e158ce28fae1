"""Measure a day that was served: levels, drift against the days before, and a verdict on each.

Enters: frames of the day and of the days before it, and monitoring/served.yaml.  Leaves: rows of
`tessera.contracts.series`.  Papers: Steck 2018, "Calibrated Recommendations" (miscalibration);
Lopez-Paz and Oquab 2017, arXiv 1610.06545 (two samples told apart by a classifier); Benjamini and
Hochberg 1995 (false discoveries).
"""

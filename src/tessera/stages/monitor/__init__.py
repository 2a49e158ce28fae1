"""Watch drift and popularity bias of batch recommendations.

Enters: events, exposures, items, users, lists, split, and monitoring/watch.yaml.  Leaves: watch, a
folder with a page, Evidently reports and a summary.  Papers: Abdollahpouri et al. 2019, "The
Unfairness of Popularity Bias in Recommendation" (average popularity); Siddiqi 2006, "Credit Risk
Scorecards" (population stability index).
"""

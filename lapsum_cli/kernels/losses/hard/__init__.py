"""Metrics: what hard orders are worth, without gradients; larger is better.

Equal scores have no order: a metric is its mean over all that they may have (McSherry and Najork, Computing information
retrieval performance measures efficiently in the presence of tied scores, ECIR 2008). It has a file each, whose LOSS
the other losses' machinery runs. Relevant is a target above 0; where nothing is, there is no metric.
"""

"""Confirmation: the best few and the baselines again, with fresh seeds and on items that chose nothing yet."""

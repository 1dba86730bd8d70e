"""Figures of the real daemon beside the barest loops on the same card, measured in the same run."""

"""Entries held out: how missing cells come, scores, and what fits are judged by."""

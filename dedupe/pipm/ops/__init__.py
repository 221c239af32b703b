"""Use cases: gather facts, plan, apply, report.

Each folder may use those that stand before it: sharing, folding, syncing, running, keeping, looking. What
all of them need lies here.
"""

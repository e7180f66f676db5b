"""Bounded: what a run holds, how it is cut, and the stages that run ahead of one another.

budget.py     bytes in flight
batching.py   a budget becomes cuts between rankings
ahead.py      stages on threads, one item ahead
process.py    what `--memory` means: the whole process, its allocators included
"""

"""Rankings in a table: which columns hold them, and where results go beside them.

roles.py, detect.py   which column plays which part: as named, or by its usual names
layout.py             how a table holds rankings: long.py, lists.py, wide.py; groups.py for runs of equal group
results.py, pairs.py  what an operation gives, as columns beside scores, a row a ranking, or a row a pair
"""

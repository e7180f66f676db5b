"""Rankings in a table: which columns hold them, and where results go beside them.

roles.py, detect.py   which column plays which part: as named, or by its usual names
layout.py             how a table holds rankings: long.py, lists.py, wide.py; groups.py for runs of equal group
results.py            what an operation gives, as columns beside scores, or a row a ranking; positions.py as a row a
                      position, and pairs.py as a row a pair of an item and a position
"""

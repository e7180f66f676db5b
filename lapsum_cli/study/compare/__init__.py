"""All methods side by side on a user's own rankings.

softness.py  the alpha at which each leaves as many items undecided
look.py      what each does there: whom it selects, what gradient reaches whom, how long it takes
learn.py     which one a linear scorer learns from best
shown.py     tables and drawings of either
"""

"""`lapsum bench`: how long an operation takes here, beside what else the machine offers for it.

    command.py   the options; what is made of them, in order
    cases.py     what is timed: an operation on so many scores, of this kind (scores.py)
    peers.py     what it is timed beside, by library; filepeers.py, the same from file to file
    check.py     is an output right? An output that is not has no time
    turns.py     the clock: all sides of a case run in turn; launch.py, for a side that is a process
    arrays.py    the cases in memory; cuda.py, those on a card; files.py, those from file to file (sources.py,
                 filecheck.py)
    run.py       one run of all that was asked for, whose outcome is the Report (report.py)
    tables.py    what was measured, as tables, which are printed (report.py), kept in a file (record.py), and drawn as a
                 page (html.py, charts.py, page.css)

Nothing is imported here: the command line reads the options on every start.
"""

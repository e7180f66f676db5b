"""`lapsum bench`: how long an operation takes here, beside what else the machine offers for it.

    timed.py    what can be timed, as tables: operations, shapes, dtypes; shapes.py, how many rankings of which lengths;
                scores.py, how scores are distributed
    cases.py    what is chosen of that, as cases: an operation on so many rankings; and what the sides of one took
    peers/      what lapsum is timed beside: a table, and a file for each library; filepeer.py, the process in which one
                works from file to file
    check.py    is an output right? An output that is not has no time; counting.py, what a card counts for it
    clock.py    all sides of a case run in turn; launch.py, for a side that is a process
    arrays.py   the cases in memory; cards.py, those on a card; files.py, those from file to file (sources.py makes the
                files, filecheck.py reads what was made of them); calls.py, those so small that to call and to start
                counts (imports.py, a process that does nothing else)
    machine.py  the conditions
    run.py      one run of all that was asked for, whose outcome is a Report (../report)
    tables.py   what was measured, as tables; figures.py, as charts

timed.py, scores.py and the table of peers are read by the command line on every start, and import nothing heavy.
"""

"""Reports, whatever they are of: tables and drawings, as text, JSON or a page, and kept in a file.

report.py   what one run of a study found out
tables.py   a table; rounding.py, its numbers
html.py     the page (page.css); charts.py, its drawings
record.py   a file that keeps tables between markers
"""

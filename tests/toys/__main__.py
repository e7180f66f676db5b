"""The command, with the toys in its tables."""

from lapsum_cli.cli.startup import main

from . import LINES, NAME

for table, line in LINES:
    table[NAME] = line  # type: ignore[index]
main()

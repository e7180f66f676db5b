"""The command, with the toys in its tables."""

from lapsum_cli.cli.startup import main

from . import entered  # noqa: F401

main()

"""`python -m lapsum_cli` is `lapsum`."""

from .cli.startup import main

main()

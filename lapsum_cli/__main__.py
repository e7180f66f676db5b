"""`python -m lapsum_cli` is `lapsum`."""

from .cli.app import main

main()

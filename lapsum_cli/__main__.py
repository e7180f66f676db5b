"""`python -m lapsum_cli` is `lapsum`."""

from .cli import main

main()

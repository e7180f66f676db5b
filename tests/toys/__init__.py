"""A method, a loss and an engine, each a file and its line in a table; `python3 -m toys` is the command with them."""

from lapsum_cli.engines import ENGINES
from lapsum_cli.operations import LOSSES, METHODS, LossEntry, MethodEntry

NAME = "toy"
LINES: tuple = (
    (METHODS, MethodEntry("toys.method", "the k largest, hard", ("topk",))),
    (LOSSES, LossEntry("toys.loss", "the mean square of how far soft ranks are from those of the target")),
    (ENGINES, "toys.engine"),
)

"""What workers of tests do with a shard; they find these functions by this folder on their path."""

import os
import signal
from pathlib import Path

from lapsum_cli.core.errors import BadRanking


def die_at_first(folder, x):
    """Killed when it is first asked for 3."""
    path = Path(folder, str(x))
    if x == 3 and not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return x, os.getpid(), os.getcwd()


def die(x):
    os.kill(os.getpid(), signal.SIGKILL)


def fail(x):
    if x == 2:
        raise BadRanking(5, "is wrong")
    return x


class Odd(Exception):
    """What cannot be sent."""

    def __init__(self, x):
        super().__init__(x, lambda: x)


def fail_oddly(x):
    raise Odd(x)

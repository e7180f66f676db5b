"""What a user can fix, and the exit code that says which kind it is.

LapsumError
├── OptionError (2)        a value that the operation cannot use; also a ValueError
│   ├── RankingTooLarge    one ranking needs more than the whole memory budget; also a MemoryError
│   └── NotDifferentiable  a derivative that is not known; also a NotImplementedError, and so a RuntimeError
├── DataError (65)         the scores or their file are wrong; also a ValueError
│   └── BadRanking         one ranking of a batch; who reads the file knows its name
├── InputMissing (66)      there is nothing to read; also a FileNotFoundError
├── DeviceError (69)       the device asked for is not there
├── OutputError (73)       the output exists already or cannot be made
└── IOFailed (74)          reading or writing broke off, as on a full disk; also an OSError

A kind of fault has one code, wherever it is found:

2   what was typed: an unknown command, option, name of a choice, format or extension; a value of an option that cannot
    be used; options that exclude or need each other, or do not suit the input or the output; a column that is named and
    not there, or to be named because several could be meant; a ranking that needs more than --memory
65  what was read: a file of no known format, empty or damaged; columns of the wrong type, or of another shape than the
    scores; no column that could be the score; NaN, and values of alpha, k and targets that cannot be used; groups that
    are not together; inputs whose columns differ; values that the output's format cannot hold
66  inputs that do not exist, are directories without data, or may not be read
73  outputs that exist, are inputs too, or have no directory, no bucket or no room, or may not be written
74  a disk, or the way to an object store, that broke

A message is one line that says what, where, how much, and what to do. It names options as Python has them; the command
reads `message`, and has its own names for them (spelling.py).
"""

import sys
import warnings

from .spelling import in_python


class LapsumError(Exception):
    """Anything the user can fix."""

    exit_code = 1

    @property
    def message(self) -> str:
        """The text, in which options are marked."""
        return BaseException.__str__(self)

    def __str__(self) -> str:
        return in_python(self.message)


class OptionError(LapsumError, ValueError):
    """A value that the operation cannot use."""

    exit_code = 2


class RankingTooLarge(OptionError, MemoryError):
    """One ranking needs more than the whole memory budget."""


class NotDifferentiable(OptionError, NotImplementedError):
    """A derivative that is not known, such as a third one."""


class DataError(LapsumError, ValueError):
    """The scores, or the file that holds them, are wrong."""

    exit_code = 65


class BadRanking(DataError):
    """An option or a score is wrong for one ranking of a batch; the caller knows what that ranking is called."""

    def __init__(self, ranking: int, problem: str):
        super().__init__(ranking, problem)  # what a copy is made of, in another process too
        self.ranking, self.problem = ranking, problem

    @property
    def message(self) -> str:
        return f"ranking {self.ranking}: {self.problem}"


class InputMissing(LapsumError, FileNotFoundError):
    """There is nothing to read."""

    exit_code = 66


class DeviceError(LapsumError, RuntimeError):
    """The device asked for is not there."""

    exit_code = 69


class OutputError(LapsumError):
    """The output exists already, or cannot be made."""

    exit_code = 73


class IOFailed(LapsumError, OSError):
    """Reading or writing broke off, as on a full disk."""

    exit_code = 74


class LapsumWarning(UserWarning):
    """What was computed as it was asked for, and is hardly what was meant."""


def warn(line: str, category: type[Warning] = LapsumWarning) -> None:
    """A warning at the line that called this package."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(("lapsum_cli.", "torch.")):
        frame, level = frame.f_back, level + 1
    warnings.warn(line, category, stacklevel=level)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, or room for a thread, is used up, by its words: drivers and libraries have no
    class in common.
    """
    words = str(error).lower().replace("_", "").replace(" ", "")
    return "outofmemory" in words or "can'tstartnewthread" in words

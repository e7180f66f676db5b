"""What a user can fix, and the exit code that says which kind it is.

LapsumError
├── OptionError (2)        a value that the operation cannot use; also a ValueError
│   ├── RankingTooLarge    one ranking needs more than the whole memory budget; also a MemoryError
│   └── NotDifferentiable  a derivative that is not computed; also a NotImplementedError, and so a RuntimeError
├── DataError (65)         the scores or their file are wrong; also a ValueError
│   └── BadRanking         one ranking of a batch; who reads the file knows its name
├── InputMissing (66)      there is nothing to read; also a FileNotFoundError
├── DeviceError (69)       the device asked for is not there
├── OutputError (73)       the output exists already or cannot be made
└── IOFailed (74)          reading or writing broke off, as on a full disk; also an OSError

A message is one line that says what, where, how much, and what to do.
"""


class LapsumError(Exception):
    """Anything the user can fix."""

    exit_code = 1


class OptionError(LapsumError, ValueError):
    """A value that the operation cannot use."""

    exit_code = 2


class RankingTooLarge(OptionError, MemoryError):
    """One ranking needs more than the whole memory budget."""


class NotDifferentiable(OptionError, NotImplementedError):
    """A derivative that is not computed, such as a second one."""


class DataError(LapsumError, ValueError):
    """The scores, or the file that holds them, are wrong."""

    exit_code = 65


class BadRanking(DataError):
    """An option or a score is wrong for one ranking of a batch; the caller knows what that ranking is called."""

    def __init__(self, ranking: int, problem: str):
        super().__init__(ranking, problem)  # what a copy is made of, in another process too
        self.ranking, self.problem = ranking, problem

    def __str__(self) -> str:
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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, or room for a thread, is used up, by its words: drivers and libraries have no
    class in common.
    """
    words = str(error).lower().replace("_", "").replace(" ", "")
    return "outofmemory" in words or "can'tstartnewthread" in words

"""What went wrong with a file, as one of our errors: what Arrow, the system or a store says, read or written."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator

from ..core.errors import DataError, InputMissing, IOFailed, LapsumError, OutputError, is_out_of_memory

# What the system says of a place in a file that there is not, as a damaged one may name: that is the file's fault.
_OF_DAMAGE = {None, errno.EINVAL, errno.EOVERFLOW, errno.ESPIPE}

# What Arrow's clients of object stores say: AWS Error NO_SUCH_BUCKET during HeadObject operation: ...
_OF_A_STORE = re.compile(r"AWS Error|google::cloud")
_BESIDE = re.compile(r" ?\(Request ID.*|; Details:.*| error_info=.*|\. The request was not sent.*")
_FORBIDDEN = "access is denied; check the credentials, such as AWS_ACCESS_KEY_ID or AWS_PROFILE, and what they may do"
_MISSING, _BROKEN = "there", "broken"  # kinds: what is asked for is not there for us, or the way to it is broken
_FAULTS: tuple[tuple[str, str, str], ...] = (
    ("NO_SUCH_BUCKET|NoSuchBucket", _MISSING, "there is no such bucket"),
    ("NO_SUCH_KEY|NOT_FOUND", _MISSING, "there is no such object"),
    ("ACCESS_DENIED|INVALID_ACCESS_KEY|SIGNATURE_DOES_NOT_MATCH|INVALID_SIGNATURE", _MISSING, _FORBIDDEN),
    ("TOKEN|UNRECOGNIZED_CLIENT|HTTP status 40[13]|PERMISSION_DENIED|UNAUTHENTICATED", _MISSING, _FORBIDDEN),
    ("HTTP status 30[17]|PermanentRedirect", _MISSING, "the bucket is in another region; set AWS_REGION"),
    ("OAuth2 access token", _MISSING, "there are no credentials; set GOOGLE_APPLICATION_CREDENTIALS"),
    (r"curlCode: [67]\b|CURL error \[[67]\]", _BROKEN, "the store cannot be reached"),
    (r"curlCode: (35|60)\b", _BROKEN, "its certificate is not trusted; AWS_CA_BUNDLE names a file of those that are"),
    (r"curlCode: 28\b", _BROKEN, "the store does not answer"),
    ("curlCode|NETWORK_CONNECTION|UNAVAILABLE|DEADLINE", _BROKEN, "the connection broke off"),
    ("SLOW_DOWN|THROTTLING|SERVICE_UNAVAILABLE|INTERNAL_FAILURE", _BROKEN, "the store is too busy"),
)


def _fault(error: Exception) -> tuple[str, str]:
    """Of which kind what a store says is, and in words."""
    text = str(error).split("\n", 1)[0]
    kind, words = next(
        ((kind, words) for said, kind, words in _FAULTS if re.search(said, text)), (_BROKEN, "it failed")
    )
    found = _OF_A_STORE.search(text)
    detail = re.sub(_BESIDE, "", text[found.start() :] if found else text)
    return kind, f"{words} ({detail.rstrip(': ')})"


def unread_from(name: str, error: Exception) -> LapsumError:
    """Why an object of a store was not read."""
    kind, words = _fault(error)
    return (InputMissing if kind == _MISSING else IOFailed)(f"{name}: {words}")


def unwritten_to(name: str, error: Exception) -> LapsumError:
    """Why an object of a store was not written."""
    kind, words = _fault(error)
    if kind == _MISSING:
        return OutputError(f"{name}: {words}")
    return IOFailed(f"{name}: writing failed: {words}; nothing was kept")


@contextlib.contextmanager
def writing(name: str) -> Iterator[None]:
    """Errors of the operating system while an output is written, as one that says what to do; a closed pipe stays
    itself.
    """
    try:
        yield
    except (BrokenPipeError, LapsumError):
        raise
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise BrokenPipeError(error.errno, error.strerror) from None
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise IOFailed(f"{name}: writing failed: {reason}; nothing was kept") from None


def first_line(error: Exception, name: str | None = None) -> str:
    """What an error of Arrow says about data, without the lines that follow.

    An error that is not about data is raised instead: one of ours, memory that is used up, or what the system says of
    a disk, or a store. They reach whoever catches Arrow's, since they are OSErrors or MemoryErrors too.
    """
    if isinstance(error, LapsumError | MemoryError):
        raise error
    if is_out_of_memory(error):
        raise MemoryError(str(error))
    if isinstance(error, OSError) and _OF_A_STORE.search(str(error)):
        raise unread_from(name or "input", error) from None
    if isinstance(error, OSError) and error.errno not in _OF_DAMAGE:
        raise IOFailed(f"{error.filename or 'input'}: reading failed: {os.strerror(error.errno or 0)}") from error
    return str(error).split("\n", 1)[0]


def unread(name: str, error: Exception) -> DataError:
    """The refusal of an input with a type that PyArrow does not read."""
    return DataError(
        f"{name}: a column has a type that is not supported: {first_line(error)}; write the column as another type"
    )

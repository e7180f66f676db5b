"""What the steps of a run on a card share: sizes, there and in a rehearsal; the card, or a line and exit code 69."""

import os
import sys

IS_REHEARSED = bool(os.environ.get("LAPSUM_REHEARSED"))

if IS_REHEARSED:
    import pytest
    from conftest import make_blocks_small

    make_blocks_small(pytest.MonkeyPatch())


def either(there, here):
    """The first on a card, the second in a rehearsal."""
    return here if IS_REHEARSED else there


def lane():
    """A lane of its own on the card, on which a kernel has run."""
    from lapsum_cli import devices
    from lapsum_cli.core.errors import DeviceError

    try:
        devices.lane()
    except DeviceError as error:
        print(error)
        sys.exit(error.exit_code)
    from lapsum_cli.kernels.cuda import adapter

    return adapter.Lane()


def line_of(error):
    """An exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"

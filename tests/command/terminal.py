"""The command in a terminal of its own, and what its screen shows."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time

from commands import LAPSUM


def on_a_terminal(*args, columns=80, cwd=None, stdin=None, env=None, command=LAPSUM) -> str:
    """All that is written to a terminal of so many columns, whose standard output and error it is."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", **(env or {})}
    environment.pop("COLUMNS", None)
    process = subprocess.Popen(
        [*command, *map(str, args)],
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=theirs,
        stderr=theirs,
        cwd=cwd,
        env=environment,
        close_fds=True,
    )
    os.close(theirs)
    written, end = b"", time.monotonic() + 120
    while time.monotonic() < end:
        if select.select([ours], [], [], 0.5)[0]:
            try:
                more = os.read(ours, 1 << 16)
            except OSError:  # Linux says so where nobody has the other end any more
                break
            if not more:
                break
            written += more
    process.wait(timeout=10)
    os.close(ours)
    return written.decode()

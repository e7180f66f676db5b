"""Run a command; its wall seconds and its peak memory in bytes, as JSON. A script of its own, with no imports of ours.

A process counts the memory of the one that started it into its own peak, until it has become another program. The
benchmark holds arrays and libraries; this process holds some 11 MB.
"""

import json
import os
import signal
import subprocess
import sys
import time

signal.pthread_sigmask(signal.SIG_SETMASK, [])  # lapsum blocks signals in its threads, and so in what it starts
start = time.perf_counter()
child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, used = os.wait4(child.pid, 0)
seconds = time.perf_counter() - start
code = os.waitstatus_to_exitcode(status)
if code:
    sys.exit(code if code > 0 else 128 - code)
sys.stdout.write(json.dumps({"seconds": seconds, "memory": used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)}))

"""`lapsum doctor`, which fails here where no kernel runs on a card."""

import subprocess
import sys

done = subprocess.run([sys.executable, "-m", "lapsum_cli", "doctor"], capture_output=True, text=True)
print(done.stdout, done.stderr, sep="")
sys.exit(done.returncode or "a kernel runs" not in done.stdout)

"""pytest with these arguments, once a kernel has run: without a card every test would be left out, and nothing said."""

import os
import sys

import pytest

if not os.environ.get("LAPSUM_REHEARSED"):
    from common import lane

    lane()
sys.exit(pytest.main(sys.argv[1:]))

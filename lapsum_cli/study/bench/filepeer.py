"""What a peer makes of a file, in a process that holds nothing of ours: a script of its own.

    filepeer.py PEER.py THREADS IN OUT

PEER.py is one of peers/, whose neighbours it may import; that folder is on no path of the process, where its torch.py
would be taken for PyTorch. It ends when the output is on the disk, as lapsum does. Where THREADS is empty the peer
takes what it likes.
"""

import importlib
import os
import sys
from types import ModuleType

path, threads, source, sink = sys.argv[1:]
folder, name = os.path.split(path)
peers = ModuleType("peers")
peers.__path__ = [folder]
sys.modules["peers"] = peers
peer = importlib.import_module(f"peers.{os.path.splitext(name)[0]}")
peer.from_file_to_file(source, sink, int(threads) if threads else None)
with open(sink, "rb+") as file:
    os.fsync(file.fileno())

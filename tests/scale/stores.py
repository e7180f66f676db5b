"""A server of S3 for tests, and what goes wrong with one: a proxy that lets go, a server that lets nobody in. They
listen on 127.0.0.1.
"""

import contextlib
import http.server
import itertools
import os
import re
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

HOST = "127.0.0.1"


@contextlib.contextmanager
def moto(log):
    """A server of S3 in a process of its own, which keeps objects in memory; its address."""
    with open(log, "w") as words:
        server = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", HOST, "-p", "0"], stdout=words, stderr=words
        )
    try:
        until = time.monotonic() + 60
        while not (found := re.search(rf"http://{HOST}:\d+", log.read_text())):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        yield found[0]
    finally:
        server.kill()
        server.wait()


def client(address):
    """Arrow's, by which tests look into the server."""
    return fs.S3FileSystem(
        access_key="a", secret_key="b", region="us-east-1", endpoint_override=address, allow_bucket_creation=True
    )


class Proxy:
    """What goes to a server goes through here: of a connection so many bytes from it, or to it, and then it is closed;
    or of all so many to it, and then there is none; each piece of them after a delay. count: of connections.
    """

    def __init__(self, address, most_from=None, most_to=None, most_of_all=None, delay=0.0):
        self.to, self.most_from, self.most_to, self.delay = address.rpartition(":")[2], most_from, most_to, delay
        self.left = float("inf") if most_of_all is None else most_of_all
        self.socket, self.count = socket.create_server((HOST, 0)), 0
        self.address = f"http://{HOST}:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.socket.accept()
                self.count += 1
                far = socket.create_connection((HOST, int(self.to)))
                for given in ((near, far, near, self.most_to, self.delay), (far, near, near, self.most_from, 0)):
                    threading.Thread(target=self._pass_on, args=given, daemon=True).start()

    def _pass_on(self, source, sink, near, most, delay):
        total = 0
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                total += len(data)
                self.left -= len(data) if sink is not near else 0
                if (most is not None and total > most) or self.left < 0:
                    break
                time.sleep(delay)
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def close(self):
        self.socket.close()


class _Closed(http.server.BaseHTTPRequestHandler):
    def _refuse(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.rfile.read(length)
        text = b"<?xml version='1.0'?><Error><Code>InvalidAccessKeyId</Code><Message>No such key.</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _refuse

    def log_message(self, *words):
        pass


@contextlib.contextmanager
def closed():
    """A server that knows none of the keys, as S3 says it; its address."""
    server = http.server.ThreadingHTTPServer((HOST, 0), _Closed)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


NUMBERS = itertools.count()


class Bucket:
    """An empty bucket, and what is in it."""

    def __init__(self, address):
        self.address, self.name, self.client = address, f"bucket{next(NUMBERS)}", client(address)
        self.client.create_dir(self.name)
        self.path = f"s3://{self.name}"

    def put(self, path, key):
        fs.copy_files(str(path), f"{self.name}/{key}", fs.LocalFileSystem(), self.client)

    def put_all(self, folder, key):
        """Files, as they lie below a folder."""
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            self.put(path, f"{key}/{path.relative_to(folder)}")

    def bytes(self, key):
        with self.client.open_input_stream(f"{self.name}/{key}") as file:
            return file.read()

    def list(self):
        """Of objects with something in them: an empty one with a slash at its end is Arrow's mark of a directory."""
        found = self.client.get_file_info(fs.FileSelector(self.name, recursive=True))
        return sorted(one.path.partition("/")[2] for one in found if one.is_file)

    def get_all(self, key, folder):
        folder.mkdir()
        fs.copy_files(f"{self.name}/{key}", str(folder), self.client, fs.LocalFileSystem())
        return folder


def through(monkeypatch, **how):
    """From now on the server is reached through a proxy."""
    proxy = Proxy(os.environ["AWS_ENDPOINT_URL"], **how)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
    return proxy


def numbers(path, count=3_000_000):
    """A table of some 12 MB that no coding makes smaller: of several parts when it is sent."""
    drawn = np.random.default_rng(3)
    pq.write_table(pa.table({"qid": np.arange(count) // 100, "score": drawn.normal(size=count).astype("f4")}), path)
    return path

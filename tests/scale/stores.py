"""A server of S3 for tests, and what goes wrong with one: a proxy that lets go, a server that lets nobody in. They
listen on 127.0.0.1.
"""

import contextlib
import http.server
import re
import socket
import subprocess
import sys
import threading
import time

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

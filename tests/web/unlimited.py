"""Serve the store in argv[1] as ``paramstore serve --allow-writes`` does, but with any number of requests a second and a known token:
for fuzzing. Prints the address when it is ready."""

from __future__ import annotations

import logging
import socket
import sys

from pages import settings

from paramstore import ParamStore
from paramstore.web._app import make_app
from paramstore.web._server import serve

if __name__ == "__main__":
    logging.getLogger("paramstore").addHandler(logging.NullHandler())
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 0))
    made.listen(100)
    host = f"127.0.0.1:{made.getsockname()[1]}"
    app = make_app(ParamStore(sys.argv[1], environ={}), settings(hosts=frozenset({host})))
    serve(app, made, None, lambda: print(f"http://{host}", flush=True))  # noqa: T201 - whoever started it reads it

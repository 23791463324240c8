"""Writes down what Python's http.server hands to an application of a request."""

import hashlib
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        seen = {"target": self.path, "headers": dict(self.headers), "sha256": hashlib.sha256(body).hexdigest()}
        with open(os.environ["SEEN"], "a", encoding="utf-8") as file:
            file.write(json.dumps(seen) + "\n")
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), App).serve_forever()

"""An example of a webhook receiver, to copy.

    pip install -r requirements.txt
    WEBHOOK_TOKEN=whtok_… WEBHOOK_SECRET=whsec_… PORT=8080 python receiver.py

A request proves its origin twice, and either proof will do: register the endpoint with the path
/standard-webhooks to check it with the official Standard Webhooks library, or with /hmac to check it
with the standard library alone. The first also refuses old requests, so prefer it.

During a rotation set both variables to the previous and the new value with a space between them:
"whtok_old whtok_new" and "whsec_old whsec_new". Set DATABASE to a file that outlives the program.
"""

import hashlib
import hmac
import json
import os
import re
import sqlite3
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

TOKENS = os.environ.get("WEBHOOK_TOKEN", "").split()
SECRETS = os.environ.get("WEBHOOK_SECRET", "").split()
MAX_BODY = 64 * 1024


# Checks webhook-id, webhook-timestamp and webhook-signature. During a rotation a request carries a
# signature for each secret, and the library looks for any that matches.
def verify_standard(headers, body):
    for secret in SECRETS:
        try:
            Webhook(secret).verify(body, dict(headers), json_parse=False)
            return True
        except (WebhookVerificationError, ValueError):  # ValueError: a header that makes no sense
            continue
    return False


# Checks X-Webhook-Token and X-Webhook-Signature in a time that tells nothing about either. The key is
# the secret as it was shown, "whsec_" included.
def verify_hmac(headers, body):
    def equal(header, expected):
        return hmac.compare_digest(headers.get(header, "").encode(), expected.encode())

    valid = False
    for token, secret in zip(TOKENS, SECRETS):
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        both = equal("X-Webhook-Token", token) & equal("X-Webhook-Signature", signature)
        valid = valid or both
    return valid


VERIFY = {"/standard-webhooks": verify_standard, "/hmac": verify_hmac}


# Takes a status whose sequence is greater than the one that is known. Where nothing is known it takes any; an event
# without a sequence, which is "" here, compares with none and changes nothing that is known.
NEWER = """
    INSERT INTO documents (id, status, sequence) VALUES (?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET status = excluded.status, sequence = excluded.sequence
    WHERE excluded.sequence > documents.sequence"""


class Inbox:
    """The state of documents, which follows the events. Several processes may have the file open."""

    def __init__(self, file):
        self.lock = threading.Lock()
        self.db = sqlite3.connect(file, timeout=10, isolation_level=None, check_same_thread=False)
        self.db.execute("CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY)")
        self.db.execute("CREATE TABLE IF NOT EXISTS documents (id TEXT PRIMARY KEY, status TEXT NOT NULL, sequence TEXT NOT NULL)")

    def put(self, event):
        """Take an event and say what it has told.

        That it has come, and what is known of its document, is written in one transaction: an event may
        come twice, and an older one after a newer one. The id in the body equals the header webhook-id,
        and unlike that header it is covered by both signatures.
        """
        event_id, attributes = event["data"]["id"], event["data"]["attributes"]
        document, status = attributes["document_id"], attributes["status"]
        with self.lock, self.db:  # which commits, or rolls back after an exception
            self.db.execute("BEGIN IMMEDIATE")
            if not self.db.execute("INSERT INTO events (id) VALUES (?) ON CONFLICT DO NOTHING", (event_id,)).rowcount:
                return "had come already"
            if event.get("meta", {}).get("test"):
                return "a test"
            changed = self.db.execute(NEWER, (document, status, attributes.get("sequence") or "")).rowcount
        return f"document {document} is {status}" if changed else f"document {document} was {status} before what is known of it"


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10  # seconds for the sender to say something

    def do_POST(self):
        length = int(self.headers.get("Content-Length", "-1"))
        if not 0 <= length <= MAX_BODY:
            self.close_connection = True  # the body stays unread
            return self.answer(411 if length < 0 else 413)
        # The signature covers these bytes: do not parse and write them again before it is checked.
        body = self.rfile.read(length)
        if self.path not in VERIFY:
            return self.answer(404)
        if not VERIFY[self.path](self.headers, body):
            webhook_id = json.dumps(self.headers.get("webhook-id", ""))
            print(f"refused {webhook_id}: not signed with these credentials, or not now", flush=True)
            return self.answer(401)
        try:
            event = json.loads(body)
            print(f"{event['data']['id']}: {self.server.inbox.put(event)}", flush=True)
        except (ValueError, KeyError, TypeError):
            return self.answer(400)
        except sqlite3.Error as error:
            print(error, file=sys.stderr, flush=True)
            return self.answer(503)  # it will be tried again
        # What takes longer than a transaction belongs behind the answer: whoever answers after 15 seconds gets the event again.
        return self.answer(204)

    def answer(self, status):
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass  # a line for each request would only hide the events


def shown(values, form):
    return values and all(re.fullmatch(form, value, re.ASCII) for value in values)


if __name__ == "__main__":
    if not shown(TOKENS, r"whtok_[\w-]{43}") or not shown(SECRETS, r"whsec_[A-Za-z0-9+/]{43}=") or len(TOKENS) != len(SECRETS):
        sys.exit(
            "set WEBHOOK_TOKEN and WEBHOOK_SECRET to the values shown when the endpoint was registered: "
            "whtok_ and 43 characters, whsec_ and 44"
        )
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Receiver)
    server.inbox = Inbox(os.environ.get("DATABASE") or ":memory:")
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()

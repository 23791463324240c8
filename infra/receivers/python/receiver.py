"""An example of a webhook receiver, to copy.

    pip install -r requirements.txt
    WEBHOOK_TOKEN=whtok_… WEBHOOK_SECRET=whsec_… PORT=8080 python receiver.py

A request proves its origin twice, and either proof will do: register the endpoint with the path
/standard-webhooks to check it with the official Standard Webhooks library, or with /hmac to check it
with the standard library alone. The first also refuses old requests, so prefer it.

During a rotation set both variables to the previous and the new value with a space between them:
"whtok_old whtok_new" and "whsec_old whsec_new".
"""

import hashlib
import hmac
import json
import os
import queue
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


class Inbox:
    """Remembers which events have come: an event may be delivered more than once.

    In production let a database do both, with a unique key on the event's id, so that nothing is
    forgotten on a restart.
    """

    def __init__(self):
        self.lock = threading.Lock()
        self.seen = set()
        self.events = queue.Queue(maxsize=1000)

    def put(self, event):
        """Keep an event that is new; raise queue.Full if there is no room for it.

        The id in the body equals the header webhook-id, and unlike that header it is covered by
        both signatures.
        """
        with self.lock:
            if event["data"]["id"] not in self.seen:
                self.events.put_nowait(event)
                self.seen.add(event["data"]["id"])

    def work(self):
        """Do with the events what has to be done, after they were answered."""
        while True:
            data = self.events.get()["data"]
            attributes = data["attributes"]
            print(f"{data['id']}: document {attributes['document_id']} is {attributes['status']}", flush=True)


INBOX = Inbox()


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
            return self.answer(401)
        try:
            INBOX.put(json.loads(body))
        except (ValueError, KeyError, TypeError):
            return self.answer(400)
        except queue.Full:
            return self.answer(503)  # it will be tried again
        return self.answer(204)  # at once: whoever answers after 15 seconds gets the event again

    def answer(self, status):
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass  # a line for each request would only hide the events


if __name__ == "__main__":
    if not SECRETS or len(TOKENS) != len(SECRETS):
        sys.exit("set WEBHOOK_TOKEN and WEBHOOK_SECRET to the values shown when the endpoint was registered")
    threading.Thread(target=INBOX.work, daemon=True).start()
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Receiver)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()

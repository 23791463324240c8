"""Verifies a request, in a file as it came over the wire: python verify.py FILE SECRET."""

import sys

from standardwebhooks import Webhook, WebhookVerificationError

with open(sys.argv[1], "rb") as file:
    head, _, body = file.read().partition(b"\r\n\r\n")
headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
try:
    Webhook(sys.argv[2]).verify(body, headers)
except WebhookVerificationError as problem:
    sys.exit(str(problem))

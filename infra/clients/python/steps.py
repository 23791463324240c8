"""What the programs share: what the test tells them, and how they tell it what they have done."""

import os

API = os.environ["API"]
API_KEY = os.environ["API_KEY"]
ENDPOINT = os.environ["ENDPOINT"]
CHANGED = ENDPOINT + "/changed"
SENT_TO = os.environ["SENT_TO"]  # a config that has had deliveries
UNKNOWN = "01969f3c-7b00-7c3a-9d4e-5f60718293a4"


def step(text):
    print(text, flush=True)

"""What the tests of all clients need: accounts at a running Anteroom, and what its upstream was asked."""

import json
import os
import time
import urllib.request
import uuid

ANTEROOM = os.environ["ANTEROOM_URL"]
UPSTREAM = os.environ["UPSTREAM_URL"]
UPSTREAM_KEY = os.environ["UPSTREAM_KEY"]
# As in the configuration that `run` writes.
FREE_LIMIT = 5
HI = [{"role": "user", "content": "hi"}]


def call(method, path, body=None, token=None):
    headers = {"content-type": "application/json"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    request = urllib.request.Request(ANTEROOM + path, json.dumps(body).encode() if body is not None else None, headers, method=method)
    with urllib.request.urlopen(request) as answer:
        text = answer.read()
        return json.loads(text) if text else None


def sign_up():
    body = {"email": f"{uuid.uuid4()}@example.com", "password": "correct horse battery"}
    return call("POST", "/v1/auth/signup", body)["access_token"]


def subscriber():
    token = sign_up()
    checkout = call("POST", "/v1/billing/checkout", {"plan": "pro"}, token)

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_):
            return None

    try:
        urllib.request.build_opener(Stay).open(urllib.request.Request(checkout["url"], method="POST"))
    except urllib.error.HTTPError as answer:
        assert answer.code == 303, answer.code
    assert call("GET", "/v1/me/subscription", token=token)["plan"] == "pro"
    return token


def used_up():
    """Somebody on the free plan who has no messages left today."""
    token = sign_up()
    for _ in range(FREE_LIMIT):
        call("POST", "/v1/chat/completions", {"model": "words", "messages": HI}, token)
    return token


def log_of(model):
    with urllib.request.urlopen(UPSTREAM + "/_log") as answer:
        return [e for e in json.load(answer) if json.loads(e["body"])["model"] == model]


def last_log(model):
    return log_of(model)[-1]


def upstream_called(model, times):
    """Waits until the upstream was called so often."""
    until = time.time() + 20
    while len(log_of(model)) < times:
        assert time.time() < until, "the upstream was never called"
        time.sleep(0.02)


def upstream_left_at(model):
    """When Anteroom hung up on the upstream, once it has."""
    until = time.time() + 5
    while time.time() < until:
        left_at = last_log(model)["left_at"]
        if left_at:
            return left_at
        time.sleep(0.02)
    raise AssertionError("the upstream was never left")

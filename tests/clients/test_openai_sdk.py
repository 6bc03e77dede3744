"""OpenAI's own SDK against a running Anteroom, as a user of a product would meet it."""

import json
import time
import unittest
import urllib.request

import openai
from openai import OpenAI

from support import ANTEROOM, FREE_LIMIT, HI, UPSTREAM_KEY, call, last_log, sign_up, subscriber, upstream_left_at


def api_key(token, **fields):
    return call("POST", "/v1/me/api-keys", {"name": "sdk", **fields}, token)


def client(token, retries=0):
    return OpenAI(base_url=ANTEROOM + "/v1", api_key=token, max_retries=retries)


def text_of(stream):
    return "".join(piece.choices[0].delta.content or "" for piece in stream)


class Errors:
    """What every error shows, whoever it came from."""

    def assert_error(self, error, status, code):
        self.assertEqual((status, code), (error.status_code, error.code), error)
        self.assertEqual(["error"], list(error.response.json()))
        self.assert_envelope(error)

    def assert_envelope(self, error):
        self.assertLessEqual({"message", "type", "param", "code"}, set(error.body))
        self.assertTrue(error.body["message"])
        self.assertNotIn(UPSTREAM_KEY, f"{error} {json.dumps(error.body)}")


class Keys(Errors, unittest.TestCase):
    """With an API key in place of a session's token: what the SDK's own documentation shows."""

    def test_a_key_is_all_that_a_program_needs(self):
        token = subscriber()
        ai = client(api_key(token, models=["words"])["key"])
        self.assertEqual(["words"], [m.id for m in ai.models.list()])
        self.assertTrue(ai.chat.completions.create(model="words", messages=HI).choices[0].message.content)
        self.assertTrue(text_of(ai.chat.completions.create(model="words", messages=HI, stream=True)))
        with self.assertRaises(openai.PermissionDeniedError) as refused:
            ai.chat.completions.create(model="tools", messages=HI)
        self.assert_error(refused.exception, 403, "model_not_in_key")

    def test_what_a_key_may_not_is_an_error_of_its_own(self):
        token = subscriber()
        with self.assertRaises(openai.PermissionDeniedError) as refused:
            client(api_key(token, scopes=["models"])["key"]).chat.completions.create(model="words", messages=HI)
        self.assert_error(refused.exception, 403, "insufficient_scope")
        budget = {"limit_usd": 0.000001, "window": "total"}
        with self.assertRaises(openai.APIStatusError) as refused:
            client(api_key(token, budget=budget)["key"]).chat.completions.create(model="words", messages=HI)
        self.assert_error(refused.exception, 402, "quota_exceeded")
        self.assertEqual("key_budget", refused.exception.body["meter"])
        key = api_key(token, requests_per_minute=1)["key"]
        client(key).models.list()
        with self.assertRaises(openai.RateLimitError) as refused:
            client(key).models.list()
        self.assert_error(refused.exception, 429, "rate_limited")

    def test_a_deleted_key_is_no_key(self):
        token = sign_up()
        made = api_key(token)
        client(made["key"]).models.list()
        call("DELETE", f"/v1/me/api-keys/{made['id']}", token=token)
        for wrong in (made["key"], made["key"][:-1], "ar_"):
            with self.assertRaises(openai.AuthenticationError) as refused:
                client(wrong).models.list()
            self.assert_error(refused.exception, 401, "unauthenticated")


class Relay(Errors, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.token = subscriber()
        cls.ai = client(cls.token)

    def test_models_are_those_of_the_plan(self):
        self.assertIn("words", [m.id for m in self.ai.models.list()])
        self.assertEqual(["words"], [m.id for m in client(sign_up()).models.list()])

    def test_a_model_by_its_name(self):
        self.assertEqual("words", self.ai.models.retrieve("words").id)
        with self.assertRaises(openai.NotFoundError) as raised:
            client(sign_up()).models.retrieve("tools")
        self.assert_error(raised.exception, 404, "model_not_found")

    def test_embeddings(self):
        # The SDK asks for base64 unless it is told otherwise.
        answer = self.ai.embeddings.create(model="words", input=["one", "two"])
        self.assertEqual([[1.0, -2.0], [2.0, -2.0]], [entry.embedding for entry in answer.data])
        self.assertEqual(6, answer.usage.total_tokens)
        self.assertEqual("base64", json.loads(last_log("words")["body"])["encoding_format"])
        answer = self.ai.embeddings.create(model="words", input="one", encoding_format="float", dimensions=2)
        self.assertEqual([1.0, -2.0], answer.data[0].embedding)
        with self.assertRaises(openai.PermissionDeniedError) as raised:
            client(sign_up()).embeddings.create(model="tools", input="one")
        self.assert_error(raised.exception, 403, "model_not_in_plan")

    def test_a_whole_answer(self):
        answer = self.ai.chat.completions.create(model="words", messages=HI)
        self.assertEqual("one two three", answer.choices[0].message.content)
        self.assertEqual(12, answer.usage.total_tokens)
        self.assertEqual(1.5, answer.model_extra["x_price"])

    def test_a_stream_comes_as_it_is_written(self):
        begun, first, text, usage = time.time(), None, "", None
        for piece in self.ai.chat.completions.create(model="words", messages=HI, stream=True):
            first = first or time.time() - begun
            self.assertTrue(piece.choices, "a usage chunk that nobody asked for")
            text += piece.choices[0].delta.content or ""
            usage = usage or piece.usage
        total = time.time() - begun
        self.assertEqual(("one two three", None), (text, usage))
        self.assertLess(first, total - 0.2, "the first chunk came with the last")

    def test_usage_is_streamed_to_who_asks(self):
        stream = self.ai.chat.completions.create(model="words", messages=HI, stream=True, stream_options={"include_usage": True})
        pieces = list(stream)
        self.assertEqual(([], 12), (pieces[-1].choices, pieces[-1].usage.total_tokens))

    def test_tools_whole_and_streamed(self):
        tools = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]
        answer = self.ai.chat.completions.create(model="tools", messages=HI, tools=tools)
        self.assertEqual('{"city":"Graz"}', answer.choices[0].message.tool_calls[0].function.arguments)
        arguments = ""
        for piece in self.ai.chat.completions.create(model="tools", messages=HI, tools=tools, stream=True):
            for tool_call in piece.choices[0].delta.tool_calls or []:
                arguments += tool_call.function.arguments or ""
        self.assertEqual('{"city":"Graz"}', arguments)

    def test_what_anteroom_does_not_know_travels_untouched(self):
        self.ai.chat.completions.create(model="words", messages=HI, temperature=1.50, extra_body={"x_custom": {"b": [1, 2.0], "a": None}})
        sent = last_log("words")
        self.assertEqual({"b": [1, 2.0], "a": None}, json.loads(sent["body"])["x_custom"])
        self.assertEqual(f"Bearer {UPSTREAM_KEY}", sent["headers"]["authorization"])
        raw = '{"model":"words","messages":[{"role":"user","content":"hi"}],"temperature":1.50,"z":1e2}'
        request = urllib.request.Request(ANTEROOM + "/v1/chat/completions", raw.encode(), {"content-type": "application/json", "authorization": f"Bearer {self.token}"})
        answer = urllib.request.urlopen(request).read().decode()
        self.assertEqual(raw, last_log("words")["body"])
        self.assertTrue(answer.endswith('"x_price": 1.50}'), answer)

    def test_a_tools_answer_goes_back(self):
        asked = self.ai.chat.completions.create(model="tools", messages=HI).choices[0].message
        answered = {"role": "tool", "tool_call_id": asked.tool_calls[0].id, "content": "rain"}
        messages = [*HI, asked.to_dict(), answered]
        answer = self.ai.chat.completions.create(model="words", messages=messages)
        self.assertEqual("one two three", answer.choices[0].message.content)
        self.assertEqual(messages, json.loads(last_log("words")["body"])["messages"])

    def test_a_provider_that_never_says_its_usage(self):
        self.assertIsNone(self.ai.chat.completions.create(model="mute", messages=HI).usage)
        options = {"include_usage": True}
        stream = self.ai.chat.completions.create(model="mute", messages=HI, stream=True, stream_options=options)
        self.assertEqual("one two three", text_of(stream))

    def test_a_slow_first_token_is_waited_for(self):
        stream = self.ai.chat.completions.create(model="slow", messages=HI, stream=True)
        self.assertEqual("one two three", text_of(stream))

    def test_what_nobody_knows_is_in_every_chunk(self):
        stream = self.ai.chat.completions.create(model="words", messages=HI, stream=True)
        self.assertEqual({1.5}, {piece.model_extra["x_price"] for piece in stream})

    def test_errors_of_the_upstream(self):
        cases = [
            ("picky", 400, "bad_temperature"),
            ("broken", 502, "upstream_error"),
            ("locked", 502, "upstream_auth_failed"),
            ("busy", 429, "upstream_rate_limited"),
        ]
        for model, status, code in cases:
            for stream in (False, True):
                with self.subTest(model=model, stream=stream), self.assertRaises(openai.APIStatusError) as raised:
                    self.ai.chat.completions.create(model=model, messages=HI, stream=stream)
                self.assert_error(raised.exception, status, code)
                if model == "picky":
                    self.assertIn("temperature is too high", str(raised.exception))
                if model == "busy":
                    self.assertEqual("7", raised.exception.response.headers["retry-after"])

    def test_a_stream_that_breaks_raises(self):
        for model in ("snaps", "cut"):
            text = ""
            with self.assertRaises(openai.APIError, msg=model) as raised:
                for piece in self.ai.chat.completions.create(model=model, messages=HI, stream=True):
                    text += piece.choices[0].delta.content or ""
            self.assertEqual("one two three", text, model)
            self.assertNotIsInstance(raised.exception, openai.APIStatusError)
            self.assert_envelope(raised.exception)

    def test_a_client_that_leaves_ends_the_call(self):
        stream = self.ai.chat.completions.create(model="silent", messages=HI, stream=True)
        next(iter(stream))
        left = time.time()
        stream.close()
        self.assertLess(upstream_left_at("silent") - left, 1.0 + 0.45, "the words that were still to come, and a second")
        with self.assertRaises(openai.APITimeoutError):
            self.ai.with_options(timeout=0.5).chat.completions.create(model="silent", messages=HI)
        self.assertLess(upstream_left_at("silent") - time.time(), 1.0)

    def test_a_client_that_leaves_ends_a_call_in_full_flow(self):
        stream = self.ai.chat.completions.create(model="endless", messages=HI, stream=True)
        for _ in range(6):
            next(stream)
        left = time.time()
        stream.close()
        self.assertLess(upstream_left_at("endless") - left, 1.0)


class Doors(Errors, unittest.TestCase):
    def test_no_key_no_answer(self):
        with self.assertRaises(openai.AuthenticationError) as raised:
            client("nonsense").chat.completions.create(model="words", messages=HI)
        self.assert_error(raised.exception, 401, "unauthenticated")

    def test_a_plan_has_its_models(self):
        with self.assertRaises(openai.PermissionDeniedError) as raised:
            client(sign_up()).chat.completions.create(model="tools", messages=HI)
        self.assert_error(raised.exception, 403, "model_not_in_plan")

    def test_a_limit_is_402_and_is_not_retried(self):
        ai = client(sign_up(), retries=2)
        for _ in range(FREE_LIMIT):
            ai.chat.completions.create(model="words", messages=HI)
        begun = time.time()
        with self.assertRaises(openai.APIStatusError) as raised:
            ai.chat.completions.create(model="words", messages=HI)
        self.assert_error(raised.exception, 402, "quota_exceeded")
        self.assertEqual((FREE_LIMIT, FREE_LIMIT), (raised.exception.body["limit"], raised.exception.body["used"]))
        self.assertLess(time.time() - begun, 0.4)

    def test_too_many_requests_are_429_with_retry_after(self):
        ai = client(sign_up())
        with self.assertRaises(openai.RateLimitError) as raised:
            for _ in range(200):
                ai.models.list()
        self.assert_error(raised.exception, 429, "rate_limited")
        self.assertGreaterEqual(int(raised.exception.response.headers["retry-after"]), 1)

    def test_logging_out_closes_the_door(self):
        token = sign_up()
        client(token).models.list()
        call("POST", "/v1/auth/logout", token=token)
        with self.assertRaises(openai.AuthenticationError):
            client(token).models.list()


if __name__ == "__main__":
    unittest.main(verbosity=2)

"""Anthropic's own SDK against a running Anteroom, whose upstream speaks OpenAI's dialect."""

import json
import time
import unittest

import anthropic
from anthropic import Anthropic

from support import ANTEROOM, HI, UPSTREAM_KEY, call, last_log, sign_up, subscriber, upstream_left_at, used_up

TOOLS = [{"name": "weather", "description": "How it is outside.", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}]


def client(token, retries=0):
    return Anthropic(base_url=ANTEROOM, api_key=token, max_retries=retries)


def ask(ai, model, **more):
    return ai.messages.create(**{"model": model, "max_tokens": 100, "messages": HI, **more})


class Messages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.token = subscriber()
        cls.ai = client(cls.token)

    def assert_error(self, error, status, kind, code):
        self.assertEqual((status, kind), (error.status_code, error.body["error"]["type"]), error)
        self.assertEqual(code, error.body["error"]["code"])
        self.assertEqual("error", error.body["type"])
        self.assertEqual(error.request_id, error.body["request_id"])
        self.assertNotIn(UPSTREAM_KEY, f"{error} {json.dumps(error.body)}")

    def test_a_whole_answer(self):
        answer = ask(self.ai, "words", system="Be brief.", stop_sequences=["END"], extra_body={"temperature": 0.5})
        self.assertEqual([("text", "one two three")], [(b.type, b.text) for b in answer.content])
        self.assertEqual(("end_turn", 9, 3), (answer.stop_reason, answer.usage.input_tokens, answer.usage.output_tokens))
        self.assertTrue(answer._request_id)
        sent = json.loads(last_log("words")["body"])
        self.assertEqual(["system", "user"], [m["role"] for m in sent["messages"]])
        self.assertEqual((100, 0.5, ["END"]), (sent["max_completion_tokens"], sent["temperature"], sent["stop"]))

    def test_a_stream_comes_as_it_is_written(self):
        begun, first, text = time.time(), None, ""
        with self.ai.messages.stream(model="words", max_tokens=100, messages=HI) as stream:
            for piece in stream.text_stream:
                first = first or time.time() - begun
                text += piece
            final = stream.get_final_message()
        total = time.time() - begun
        self.assertEqual("one two three", text)
        self.assertEqual("one two three", final.content[0].text)
        self.assertEqual(("end_turn", 9, 3), (final.stop_reason, final.usage.input_tokens, final.usage.output_tokens))
        self.assertLess(first, total - 0.2, "the first piece came with the last")

    def test_a_stream_without_the_helper(self):
        kinds = [event.type for event in ask(self.ai, "words", stream=True)]
        self.assertEqual(["message_start", "content_block_start"], kinds[:2])
        self.assertEqual(["content_block_stop", "message_delta", "message_stop"], kinds[-3:])

    def test_the_beta_address_is_the_same(self):
        answer = self.ai.beta.messages.create(model="words", max_tokens=100, messages=HI, betas=["context-1m-2025-08-07"])
        self.assertEqual("one two three", answer.content[0].text)

    def test_tools_whole_and_streamed(self):
        whole = ask(self.ai, "tools", tools=TOOLS)
        with self.ai.messages.stream(model="tools", max_tokens=100, messages=HI, tools=TOOLS) as stream:
            streamed = stream.get_final_message()
        for answer in (whole, streamed):
            self.assertEqual("tool_use", answer.stop_reason)
            block = answer.content[0]
            self.assertEqual(("tool_use", "call_1", "weather", {"city": "Graz"}), (block.type, block.id, block.name, block.input))

    def test_a_tools_answer_goes_back(self):
        asked = ask(self.ai, "agent", tools=TOOLS)
        result = {"type": "tool_result", "tool_use_id": asked.content[0].id, "content": "rain"}
        messages = [*HI, {"role": "assistant", "content": asked.content}, {"role": "user", "content": [result]}]
        answer = ask(self.ai, "agent", tools=TOOLS, messages=messages)
        self.assertEqual("one two three", answer.content[0].text)

    def test_pictures(self):
        picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
        ask(self.ai, "words", messages=[{"role": "user", "content": [picture, {"type": "text", "text": "What is it?"}]}])
        sent = json.loads(last_log("words")["body"])["messages"][0]["content"]
        self.assertEqual("data:image/png;base64,iVBORw0KGgo=", sent[0]["image_url"]["url"])

    def test_what_was_not_passed_on_is_named(self):
        raw = self.ai.messages.with_raw_response.create(model="words", max_tokens=100, messages=HI, extra_body={"top_k": 5})
        self.assertEqual("top_k", raw.headers["anteroom-dropped-parameters"])

    def test_tokens_are_estimated(self):
        self.assertGreater(self.ai.messages.count_tokens(model="words", messages=HI).input_tokens, 0)

    def test_errors_of_the_upstream(self):
        cases = [
            ("picky", 400, "invalid_request_error", "bad_temperature"),
            ("broken", 502, "api_error", "upstream_error"),
            ("locked", 502, "api_error", "upstream_auth_failed"),
            ("busy", 429, "rate_limit_error", "upstream_rate_limited"),
        ]
        for model, status, kind, code in cases:
            for stream in (False, True):
                with self.subTest(model=model, stream=stream), self.assertRaises(anthropic.APIStatusError) as raised:
                    ask(self.ai, model, stream=stream)
                self.assert_error(raised.exception, status, kind, code)
                if status == 429:
                    self.assertIsInstance(raised.exception, anthropic.RateLimitError)
                    self.assertEqual("7", raised.exception.response.headers["retry-after"])

    def test_a_stream_that_breaks_raises(self):
        for model in ("snaps", "cut"):
            text = ""
            with self.assertRaises(anthropic.APIError, msg=model) as raised:
                with self.ai.messages.stream(model=model, max_tokens=100, messages=HI) as stream:
                    for piece in stream.text_stream:
                        text += piece
            self.assertEqual("one two three", text, model)
            self.assertEqual("api_error", raised.exception.body["error"]["type"])
            self.assertNotIn(UPSTREAM_KEY, str(raised.exception))

    def test_a_client_that_leaves_ends_the_call(self):
        with self.ai.messages.stream(model="endless", max_tokens=100, messages=HI) as stream:
            for _ in range(6):
                next(stream)
            left = time.time()
        self.assertLess(upstream_left_at("endless") - left, 1.5)
        with self.assertRaises(anthropic.APITimeoutError):
            ask(self.ai.with_options(timeout=0.5), "silent")
        self.assertLess(upstream_left_at("silent") - time.time(), 1.5)

    def test_what_cannot_be_said_is_refused(self):
        with self.assertRaises(anthropic.BadRequestError) as raised:
            ask(self.ai, "words", tools=[{"type": "web_search_20250305", "name": "web_search"}])
        self.assert_error(raised.exception, 400, "invalid_request_error", "unsupported_parameter")
        self.assertEqual("tools.0.type", raised.exception.body["error"]["param"])

    def test_no_key_no_answer(self):
        with self.assertRaises(anthropic.AuthenticationError) as raised:
            ask(client("nonsense"), "words")
        self.assert_error(raised.exception, 401, "authentication_error", "unauthenticated")
        # The other way in which the SDK sends a credential.
        bearer = Anthropic(base_url=ANTEROOM, auth_token=self.token, max_retries=0)
        self.assertEqual("one two three", ask(bearer, "words").content[0].text)

    def test_a_plan_has_its_models(self):
        with self.assertRaises(anthropic.PermissionDeniedError) as raised:
            ask(client(sign_up()), "tools")
        self.assert_error(raised.exception, 403, "permission_error", "model_not_in_plan")

    def test_a_limit_is_402_and_is_not_retried(self):
        ai = client(used_up(), retries=2)
        begun = time.time()
        with self.assertRaises(anthropic.APIStatusError) as raised:
            ask(ai, "words")
        self.assert_error(raised.exception, 402, "billing_error", "quota_exceeded")
        # The SDK's two repeats would take longer than this.
        self.assertLess(time.time() - begun, 1.0)

    def test_too_many_requests_are_429_with_retry_after(self):
        ai = client(sign_up())
        with self.assertRaises(anthropic.RateLimitError) as raised:
            for _ in range(400):
                ai.messages.count_tokens(model="words", messages=HI)
        self.assert_error(raised.exception, 429, "rate_limit_error", "rate_limited")
        self.assertGreaterEqual(int(raised.exception.response.headers["retry-after"]), 1)

    def test_logging_out_closes_the_door(self):
        token = sign_up()
        ask(client(token), "words")
        call("POST", "/v1/auth/logout", token=token)
        with self.assertRaises(anthropic.AuthenticationError):
            ask(client(token), "words")


if __name__ == "__main__":
    unittest.main(verbosity=2)

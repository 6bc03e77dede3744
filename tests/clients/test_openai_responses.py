"""The Responses API of OpenAI's own SDK against a running Anteroom."""

import json
import time
import unittest

import openai
from openai import OpenAI
from pydantic import BaseModel

from support import ANTEROOM, UPSTREAM_KEY, last_log, sign_up, subscriber, upstream_left_at, used_up

TOOLS = [{"type": "function", "name": "weather", "description": "How it is outside.", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}, "strict": True}]


class Place(BaseModel):
    city: str


def client(token, retries=0):
    return OpenAI(base_url=ANTEROOM + "/v1", api_key=token, max_retries=retries)


class Responses(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.ai = client(subscriber())

    def assert_error(self, error, status, code):
        self.assertEqual((status, code), (error.status_code, error.code), error)
        self.assertLessEqual({"message", "type", "param", "code"}, set(error.body))
        self.assertNotIn(UPSTREAM_KEY, f"{error} {json.dumps(error.body)}")

    def test_a_whole_answer(self):
        answer = self.ai.responses.create(model="words", input="hi", instructions="Be brief.", metadata={"k": "v"})
        self.assertEqual(("one two three", "completed"), (answer.output_text, answer.status))
        self.assertEqual((9, 3, 12), (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens))
        self.assertEqual(({"k": "v"}, False), (answer.metadata, answer.to_dict()["store"]))
        sent = json.loads(last_log("words")["body"])
        self.assertEqual(["system", "user"], [m["role"] for m in sent["messages"]])

    def test_a_stream_comes_as_it_is_written(self):
        begun, first, text = time.time(), None, ""
        with self.ai.responses.stream(model="words", input="hi") as stream:
            for event in stream:
                if event.type == "response.output_text.delta":
                    first = first or time.time() - begun
                    text += event.delta
            final = stream.get_final_response()
        total = time.time() - begun
        self.assertEqual(("one two three", "one two three"), (text, final.output_text))
        self.assertEqual(12, final.usage.total_tokens)
        self.assertLess(first, total - 0.2, "the first piece came with the last")

    def test_a_stream_without_the_helper(self):
        events = list(self.ai.responses.create(model="words", input="hi", stream=True))
        self.assertEqual(list(range(len(events))), [event.sequence_number for event in events])
        self.assertEqual(("response.created", "response.completed"), (events[0].type, events[-1].type))

    def test_tools_whole_and_streamed(self):
        whole = self.ai.responses.create(model="tools", input="hi", tools=TOOLS)
        with self.ai.responses.stream(model="tools", input="hi", tools=TOOLS) as stream:
            for _ in stream:
                pass
            streamed = stream.get_final_response()
        for answer in (whole, streamed):
            item = answer.output[0]
            self.assertEqual(("function_call", "call_1", "weather", '{"city":"Graz"}'), (item.type, item.call_id, item.name, item.arguments))

    def test_a_tools_answer_goes_back(self):
        asked = self.ai.responses.create(model="agent", input="hi", tools=TOOLS)
        history = [{"role": "user", "content": "hi"}, *asked.output]
        history.append({"type": "function_call_output", "call_id": asked.output[0].call_id, "output": "rain"})
        answer = self.ai.responses.create(model="agent", input=history, tools=TOOLS)
        self.assertEqual("one two three", answer.output_text)

    def test_an_answer_of_a_shape(self):
        answer = self.ai.responses.parse(model="schema", input="hi", text_format=Place)
        self.assertEqual(Place(city="Graz"), answer.output_parsed)
        self.assertEqual("json_schema", json.loads(last_log("schema")["body"])["response_format"]["type"])

    def test_errors_of_the_upstream(self):
        for model, status, code in [("picky", 400, "bad_temperature"), ("broken", 502, "upstream_error"), ("busy", 429, "upstream_rate_limited")]:
            for stream in (False, True):
                with self.subTest(model=model, stream=stream), self.assertRaises(openai.APIStatusError) as raised:
                    self.ai.responses.create(model=model, input="hi", stream=stream)
                self.assert_error(raised.exception, status, code)

    def test_a_stream_that_breaks_raises(self):
        for model in ("snaps", "cut"):
            text = ""
            with self.assertRaises(openai.APIError, msg=model) as raised:
                for event in self.ai.responses.create(model=model, input="hi", stream=True):
                    text += event.delta if event.type == "response.output_text.delta" else ""
            self.assertEqual("one two three", text, model)
            self.assertNotIsInstance(raised.exception, openai.APIStatusError)
            self.assertLessEqual({"message", "type", "param", "code"}, set(raised.exception.body))
            self.assertNotIn(UPSTREAM_KEY, str(raised.exception))

    def test_a_client_that_leaves_ends_the_call(self):
        stream = self.ai.responses.create(model="endless", input="hi", stream=True)
        for _ in range(8):
            next(stream)
        left = time.time()
        stream.close()
        self.assertLess(upstream_left_at("endless") - left, 1.5)

    def test_what_needs_a_memory_is_refused(self):
        for more, param in [({"previous_response_id": "resp_1"}, "previous_response_id"), ({"tools": [{"type": "web_search"}]}, "tools.0.type")]:
            with self.assertRaises(openai.BadRequestError) as raised:
                self.ai.responses.create(model="words", input="hi", **more)
            self.assert_error(raised.exception, 400, "unsupported_parameter")
            self.assertEqual(param, raised.exception.param)

    def test_a_plan_has_its_models(self):
        with self.assertRaises(openai.PermissionDeniedError) as raised:
            client(sign_up()).responses.create(model="tools", input="hi")
        self.assert_error(raised.exception, 403, "model_not_in_plan")

    def test_a_limit_is_402_and_is_not_retried(self):
        ai = client(used_up(), retries=2)
        begun = time.time()
        with self.assertRaises(openai.APIStatusError) as raised:
            ai.responses.create(model="words", input="hi")
        self.assert_error(raised.exception, 402, "quota_exceeded")
        # The SDK's two repeats would take longer than this.
        self.assertLess(time.time() - begun, 1.0)

    def test_older_completions(self):
        self.assertEqual("one two three", self.ai.completions.create(model="words", prompt="hi").choices[0].text)
        stream = self.ai.completions.create(model="words", prompt="hi", stream=True)
        self.assertEqual("one two three", "".join(piece.choices[0].text for piece in stream))


if __name__ == "__main__":
    unittest.main(verbosity=2)

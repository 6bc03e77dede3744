"""LangChain's OpenAI models against a running Anteroom: by chat completions, their default, by the Responses API, and
embeddings."""

import json
import time
import unittest

import openai
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr

from support import ANTEROOM, last_log, sign_up, subscriber, upstream_left_at, used_up


@tool
def weather(city: str) -> str:
    """How it is outside."""
    return "rain"


class LangChain(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.token = subscriber()

    def models(self, name, token=None, **more):
        for responses in (False, True):
            with self.subTest(responses=responses):
                key = SecretStr(token or self.token)
                yield ChatOpenAI(base_url=ANTEROOM + "/v1", api_key=key, model=name, max_retries=0, use_responses_api=responses, **more)

    def test_whole_and_streamed(self):
        for model in self.models("words"):
            answer = model.invoke("hi")
            self.assertEqual(("one two three", 12), (answer.text, answer.usage_metadata["total_tokens"]))
            pieces = [piece.text for piece in model.stream("hi")]
            self.assertEqual("one two three", "".join(pieces))
            self.assertGreater(len([piece for piece in pieces if piece]), 2)

    def test_a_tool_is_called_and_answered(self):
        for model in self.models("agent"):
            bound = model.bind_tools([weather])
            whole = bound.invoke("Rain?")
            streamed = None
            for piece in bound.stream("Rain?"):
                streamed = piece if streamed is None else streamed + piece
            for asked in (whole, streamed):
                call = asked.tool_calls[0]
                self.assertEqual(("weather", {"city": "Graz"}, "call_1"), (call["name"], call["args"], call["id"]))
            told = ToolMessage(content="rain", tool_call_id="call_1")
            self.assertEqual("one two three", bound.invoke([HumanMessage("Rain?"), whole, told]).text)

    def test_a_stream_that_breaks_raises(self):
        for model in self.models("snaps"):
            text = ""
            with self.assertRaises(openai.APIError):
                for piece in model.stream("hi"):
                    text += piece.text
            self.assertEqual("one two three", text)

    def test_refusals(self):
        free, poor = sign_up(), used_up()
        for name, token, status, code in [("tools", free, 403, "model_not_in_plan"), ("words", poor, 402, "quota_exceeded"), ("busy", None, 429, "upstream_rate_limited")]:
            for model in self.models(name, token):
                with self.assertRaises(openai.APIStatusError) as raised:
                    model.invoke("hi")
                self.assertEqual((status, code), (raised.exception.status_code, raised.exception.code))

    def test_a_client_that_leaves_ends_the_call(self):
        for model in self.models("endless"):
            stream = model.stream("hi")
            for _ in range(6):
                next(stream)
            left = time.time()
            stream.close()
            self.assertLess(upstream_left_at("endless") - left, 1.5)

    def test_embeddings(self):
        def embedder(token, model="words"):
            # Otherwise it fetches OpenAI's table of tokens, to send them in the place of texts that are too long.
            return OpenAIEmbeddings(base_url=ANTEROOM + "/v1", api_key=SecretStr(token), model=model, max_retries=0, check_embedding_ctx_length=False)

        self.assertEqual([1.0, -2.0], embedder(self.token).embed_query("one"))
        self.assertEqual([[1.0, -2.0], [2.0, -2.0]], embedder(self.token).embed_documents(["one", "two"]))
        self.assertEqual(["one", "two"], json.loads(last_log("words")["body"])["input"])
        for token, model, status, code in [(sign_up(), "tools", 403, "model_not_in_plan"), (used_up(), "words", 402, "quota_exceeded")]:
            with self.assertRaises(openai.APIStatusError) as raised:
                embedder(token, model).embed_query("one")
            self.assertEqual((status, code), (raised.exception.status_code, raised.exception.code))


if __name__ == "__main__":
    unittest.main(verbosity=2)

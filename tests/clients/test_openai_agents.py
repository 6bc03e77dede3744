"""OpenAI's agents against a running Anteroom: by the Responses API, which is their default, and by chat completions."""

import asyncio
import logging
import time
import unittest

import openai
from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI

from support import ANTEROOM, log_of, sign_up, subscriber, upstream_called, upstream_left_at, used_up

set_tracing_disabled(True)
# What is raised is told twice otherwise.
logging.getLogger("openai.agents").setLevel(logging.CRITICAL)
asked = []


@function_tool
def weather(city: str) -> str:
    """How it is outside."""
    asked.append(city)
    return "rain"


def text_of(event):
    data = getattr(event, "data", None)
    return data.delta if getattr(data, "type", None) == "response.output_text.delta" else ""


class Agents(unittest.IsolatedAsyncioTestCase):
    # What speaks to the model, by either API.
    speakers = (OpenAIResponsesModel, OpenAIChatCompletionsModel)

    @classmethod
    def setUpClass(cls):
        cls.token = subscriber()

    async def asyncSetUp(self):
        # unittest switches it on, and it tells of every task that takes long.
        asyncio.get_running_loop().set_debug(False)

    def agent(self, speaker, model, token=None, tools=()):
        # Of its own: a client belongs to the loop that it was used in.
        ai = AsyncOpenAI(base_url=ANTEROOM + "/v1", api_key=token or self.token, max_retries=0)
        self.addAsyncCleanup(ai.close)
        return Agent(name="a", instructions="Be brief.", model=speaker(model=model, openai_client=ai), tools=list(tools))

    async def test_whole_and_streamed(self):
        for speaker in self.speakers:
            result = await Runner.run(self.agent(speaker, "words"), "hi")
            self.assertEqual("one two three", result.final_output)
            self.assertEqual(12, result.context_wrapper.usage.total_tokens)
            result = Runner.run_streamed(self.agent(speaker, "words"), "hi")
            text = "".join([text_of(event) async for event in result.stream_events()])
            self.assertEqual(("one two three", "one two three"), (text, result.final_output))

    async def test_a_tool_is_called_and_answered(self):
        for speaker in self.speakers:
            asked.clear()
            result = await Runner.run(self.agent(speaker, "agent", tools=[weather]), "Rain?")
            self.assertEqual(("one two three", ["Graz"]), (result.final_output, asked))
            streamed = Runner.run_streamed(self.agent(speaker, "agent", tools=[weather]), "Rain?")
            async for _ in streamed.stream_events():
                pass
            self.assertEqual(("one two three", ["Graz", "Graz"]), (streamed.final_output, asked))
            # What was said goes on.
            history = [*result.to_input_list(), {"role": "user", "content": "And tomorrow?"}]
            self.assertTrue(history)
            again = await Runner.run(self.agent(speaker, "words"), history)
            self.assertEqual("one two three", again.final_output)

    async def test_a_stream_that_breaks_raises(self):
        for speaker in self.speakers:
            result = Runner.run_streamed(self.agent(speaker, "snaps"), "hi")
            with self.assertRaises(openai.APIError):
                async for _ in result.stream_events():
                    pass

    async def test_refusals(self):
        free, poor = sign_up(), used_up()
        for speaker in self.speakers:
            for model, token, status, code in [
                ("tools", free, 403, "model_not_in_plan"),
                ("words", poor, 402, "quota_exceeded"),
                ("busy", None, 429, "upstream_rate_limited"),
            ]:
                with self.subTest(speaker=speaker, status=status), self.assertRaises(openai.APIStatusError) as raised:
                    await Runner.run(self.agent(speaker, model, token), "hi")
                self.assertEqual((status, code), (raised.exception.status_code, raised.exception.code))

    async def test_a_client_that_leaves_ends_the_call(self):
        for speaker in self.speakers:
            before = len(log_of("silent"))
            running = asyncio.create_task(Runner.run(self.agent(speaker, "silent"), "hi"))
            await asyncio.to_thread(upstream_called, "silent", before + 1)
            left = time.time()
            running.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await running
            gone = await asyncio.to_thread(upstream_left_at, "silent")
            self.assertLess(gone - left, 1.5)


if __name__ == "__main__":
    unittest.main(verbosity=2)

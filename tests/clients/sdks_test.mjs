// The SDKs in JavaScript against a running Anteroom: OpenAI's, Anthropic's, the AI SDK with the providers of both and the
// one for compatible servers, and LangChain.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import Anthropic from "@anthropic-ai/sdk";
import { HumanMessage, ToolMessage } from "@langchain/core/messages";
import { tool as langChainTool } from "@langchain/core/tools";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";
import { embed, embedMany, generateText, stepCountIs, streamText, tool } from "ai";
import OpenAI from "openai";
import { z } from "zod";

const { ANTEROOM_URL: anteroom, UPSTREAM_URL: upstream, UPSTREAM_KEY: upstreamKey } = process.env;
// As in the configuration that `run` writes.
const freeLimit = 5;
const hi = [{ role: "user", content: "hi" }];

async function call(method, path, body, token) {
  const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
  const answer = await fetch(anteroom + path, { method, headers, body: body && JSON.stringify(body) });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status}`);
  return answer.json();
}

async function signUp() {
  const body = { email: `${randomUUID()}@example.com`, password: "correct horse battery" };
  return (await call("POST", "/v1/auth/signup", body)).access_token;
}

async function subscriber() {
  const token = await signUp();
  const { url } = await call("POST", "/v1/billing/checkout", { plan: "pro" }, token);
  assert.equal((await fetch(url, { method: "POST", redirect: "manual" })).status, 303);
  return token;
}

/** Somebody on the free plan who has no messages left today. */
async function usedUp() {
  const token = await signUp();
  for (let i = 0; i < freeLimit; i++) await call("POST", "/v1/chat/completions", { model: "words", messages: hi }, token);
  return token;
}

async function lastLog(model) {
  const log = await (await fetch(`${upstream}/_log`)).json();
  return log.filter((entry) => JSON.parse(entry.body).model === model).at(-1);
}

/** How long after `since` Anteroom hung up on the upstream, in ms. */
async function upstreamLeft(model, since) {
  for (let i = 0; i < 250; i++) {
    const { left_at: leftAt } = await lastLog(model);
    if (leftAt) return leftAt * 1000 - since;
    await sleep(20);
  }
  assert.fail("the upstream was never left");
}

const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false };

/** What each SDK does with a model: `whole` and `stream` give a text (and `stream` tells each piece), `tools` its calls. */
const sdks = {
  "openai, chat completions": (token, maxRetries = 0) => {
    const ai = new OpenAI({ baseURL: `${anteroom}/v1`, apiKey: token, maxRetries });
    const tools = [{ type: "function", function: { name: "weather", parameters: schema } }];
    return {
      whole: async (model) => (await ai.chat.completions.create({ model, messages: hi })).choices[0].message.content,
      async *stream(model, signal) {
        for await (const piece of await ai.chat.completions.create({ model, messages: hi, stream: true }, { signal })) {
          if (piece.choices[0]?.delta.content) yield piece.choices[0].delta.content;
        }
      },
      tools: async (model) => {
        const final = await ai.chat.completions.stream({ model, messages: hi, tools }).finalChatCompletion();
        const whole = await ai.chat.completions.create({ model, messages: hi, tools });
        return [final, whole].map((answer) => {
          const made = answer.choices[0].message.tool_calls[0];
          return [made.id, made.function.name, JSON.parse(made.function.arguments)];
        });
      },
    };
  },
  "openai, responses": (token, maxRetries = 0) => {
    const ai = new OpenAI({ baseURL: `${anteroom}/v1`, apiKey: token, maxRetries });
    const tools = [{ type: "function", name: "weather", parameters: schema, strict: true }];
    return {
      whole: async (model) => (await ai.responses.create({ model, input: "hi" })).output_text,
      async *stream(model, signal) {
        for await (const event of await ai.responses.create({ model, input: "hi", stream: true }, { signal })) {
          if (event.type === "response.output_text.delta") yield event.delta;
        }
      },
      tools: async (model) => {
        const final = await ai.responses.stream({ model, input: "hi", tools }).finalResponse();
        const whole = await ai.responses.create({ model, input: "hi", tools });
        return [final, whole].map(({ output: [item] }) => [item.call_id, item.name, JSON.parse(item.arguments)]);
      },
    };
  },
  anthropic: (token, maxRetries = 0) => {
    const ai = new Anthropic({ baseURL: anteroom, apiKey: token, maxRetries });
    const ask = { max_tokens: 100, messages: hi };
    const tools = [{ name: "weather", input_schema: schema }];
    return {
      whole: async (model) => (await ai.messages.create({ ...ask, model })).content[0].text,
      async *stream(model, signal) {
        for await (const event of ai.messages.stream({ ...ask, model }, { signal })) {
          if (event.type === "content_block_delta") yield event.delta.text;
        }
      },
      tools: async (model) => {
        const final = await ai.messages.stream({ ...ask, model, tools }).finalMessage();
        const whole = await ai.messages.create({ ...ask, model, tools });
        return [final, whole].map(({ content: [block] }) => [block.id, block.name, block.input]);
      },
    };
  },
  "ai, @ai-sdk/openai": (token, maxRetries) => aiSdk(createOpenAI({ baseURL: `${anteroom}/v1`, apiKey: token }), maxRetries),
  "ai, @ai-sdk/openai .chat": (token, maxRetries) =>
    aiSdk(createOpenAI({ baseURL: `${anteroom}/v1`, apiKey: token }).chat, maxRetries),
  "ai, @ai-sdk/openai-compatible": (token, maxRetries) =>
    aiSdk(createOpenAICompatible({ name: "anteroom", baseURL: `${anteroom}/v1`, apiKey: token, includeUsage: true }), maxRetries),
  "ai, @ai-sdk/anthropic": (token, maxRetries) =>
    aiSdk(createAnthropic({ baseURL: `${anteroom}/v1`, apiKey: token }), maxRetries, { maxOutputTokens: 100 }),
  "@langchain/openai": (token, maxRetries) => langChain(token, maxRetries, false),
  "@langchain/openai, responses": (token, maxRetries) => langChain(token, maxRetries, true),
};

function langChain(apiKey, maxRetries = 0, useResponsesApi) {
  const chat = (model) => new ChatOpenAI({ model, apiKey, maxRetries, useResponsesApi, configuration: { baseURL: `${anteroom}/v1` } });
  const weather = langChainTool(() => "rain", { name: "weather", description: "How it is outside.", schema: z.object({ city: z.string() }) });
  const gathered = async (stream) => {
    let answer;
    for await (const piece of stream) answer = answer ? answer.concat(piece) : piece;
    return answer;
  };
  return {
    whole: async (model) => {
      const answer = await chat(model).invoke("hi");
      assert.equal(answer.usage_metadata.total_tokens, 12);
      return answer.text;
    },
    async *stream(model, signal) {
      for await (const piece of await chat(model).stream("hi", { signal })) {
        if (piece.text) yield piece.text;
      }
    },
    tools: async (model) => {
      const bound = chat(model).bindTools([weather]);
      const answers = [await bound.invoke("hi"), await gathered(await bound.stream("hi"))];
      return answers.map(({ tool_calls: [made] }) => [made.id, made.name, made.args]);
    },
    // What the tool answered goes back.
    loop: async (model) => {
      const bound = chat(model).bindTools([weather]);
      const question = new HumanMessage("Rain?");
      for (const asked of [await bound.invoke([question]), await gathered(await bound.stream([question]))]) {
        const told = new ToolMessage({ content: "rain", tool_call_id: asked.tool_calls[0].id });
        assert.equal((await bound.invoke([question, asked, told])).text, "one two three");
      }
    },
  };
}

function aiSdk(provider, maxRetries = 0, more = {}) {
  const base = (model) => ({ ...more, model: provider(model), prompt: "hi", maxRetries });
  const weather = { description: "How it is outside.", inputSchema: z.object({ city: z.string() }) };
  return {
    provider,
    whole: async (model) => {
      const answer = await generateText(base(model));
      assert.equal(answer.usage.totalTokens, 12);
      return answer.text;
    },
    async *stream(model, abortSignal) {
      const answer = streamText({ ...base(model), abortSignal, onError: () => {} });
      for await (const part of answer.fullStream) {
        if (part.type === "text-delta") yield part.text;
        if (part.type === "error") throw part.error;
      }
    },
    tools: async (model) => {
      const whole = await generateText({ ...base(model), tools: { weather: tool(weather) } });
      const streamed = streamText({ ...base(model), tools: { weather: tool(weather) } });
      return [...whole.toolCalls, ...(await streamed.toolCalls)].map((made) => [made.toolCallId, made.toolName, made.input]);
    },
    // The SDK calls the tool itself and sends what it answered.
    loop: async (model) => {
      const asked = [];
      const execute = async ({ city }) => {
        asked.push(city);
        return "rain";
      };
      const options = { ...base(model), tools: { weather: tool({ ...weather, execute }) }, stopWhen: stepCountIs(3) };
      const whole = await generateText(options);
      const streamed = streamText(options);
      assert.deepEqual([whole.text, await streamed.text], ["one two three", "one two three"]);
      assert.deepEqual(asked, ["Graz", "Graz"]);
    },
  };
}

function statusOf(error) {
  return error.status ?? error.statusCode;
}

function codeOf(error) {
  // The AI SDK keeps the body; Anthropic's whole envelope is `error.error`, of which OpenAI's is the inner part.
  const body = error.responseBody ? JSON.parse(error.responseBody) : (error.error ?? error);
  return body.error?.code ?? body.code;
}

let token, free, poor;
before(async () => {
  [token, free, poor] = [await subscriber(), await signUp(), await usedUp()];
});

for (const [name, make] of Object.entries(sdks)) {
  describe(name, () => {
    test("a whole answer", async () => {
      assert.equal(await make(token).whole("words"), "one two three");
    });

    test("a stream comes as it is written", async () => {
      const begun = Date.now();
      let first;
      let text = "";
      for await (const piece of make(token).stream("words")) {
        first ??= Date.now() - begun;
        text += piece;
      }
      assert.equal(text, "one two three");
      assert.ok(first < Date.now() - begun - 200, "the first piece came with the last");
    });

    test("tools, whole and streamed", async () => {
      const made = ["call_1", "weather", { city: "Graz" }];
      assert.deepEqual(await make(token).tools("tools"), [made, made]);
      await make(token).loop?.("agent");
    });

    for (const model of ["snaps", "cut"]) {
      test(`a stream that breaks raises: ${model}`, async () => {
        let text = "";
        const read = async () => {
          for await (const piece of make(token).stream(model)) text += piece;
        };
        await assert.rejects(read, (error) => !`${error} ${JSON.stringify(error)}`.includes(upstreamKey));
        assert.equal(text, "one two three");
      });
    }

    test("refusals have their status and code", async () => {
      for (const [model, who, status, code] of [
        ["tools", free, 403, "model_not_in_plan"],
        ["words", poor, 402, "quota_exceeded"],
        ["busy", token, 429, "upstream_rate_limited"],
        ["words", "nonsense", 401, "unauthenticated"],
        ["picky", token, 400, "bad_temperature"],
      ]) {
        await assert.rejects(make(who).whole(model), (error) => {
          assert.deepEqual([statusOf(error), codeOf(error)], [status, code], `${model}: ${error}`);
          return true;
        });
      }
    });

    test("what waiting does not help is not tried again", async () => {
      const { fetch } = globalThis;
      let tries = 0;
      globalThis.fetch = (...request) => {
        tries += 1;
        return fetch(...request);
      };
      try {
        await assert.rejects(make(poor, 2).whole("words"), (error) => statusOf(error) === 402);
      } finally {
        globalThis.fetch = fetch;
      }
      assert.equal(tries, 1);
    });

    test("a client that leaves ends the call", async () => {
      const leave = new AbortController();
      let left;
      let pieces = 0;
      const read = async () => {
        for await (const _ of make(token).stream("endless", leave.signal)) {
          pieces += 1;
          if (pieces === 6) {
            left = Date.now();
            leave.abort();
          }
        }
      };
      await read().catch((error) => assert.match(`${error.name} ${error.message}`, /abort/i));
      // A second is what is promised, and a busy machine may take something besides.
      assert.ok((await upstreamLeft("endless", left)) < 1500);
    });
  });
}

describe("the AI SDK's conversations", () => {
  test("with @ai-sdk/openai, `store: false` sends them whole", async () => {
    const { provider } = sdks["ai, @ai-sdk/openai"](token);
    const ask = { model: provider("words"), maxRetries: 0 };
    const first = await generateText({ ...ask, messages: hi, providerOptions: { openai: { store: false } } });
    const messages = [...hi, ...first.response.messages, { role: "user", content: "And then?" }];
    const second = await generateText({ ...ask, messages, providerOptions: { openai: { store: false } } });
    assert.equal(second.text, "one two three");
    assert.deepEqual(
      JSON.parse((await lastLog("words")).body).messages.map(({ role, content }) => [role, content]),
      [["user", "hi"], ["assistant", "one two three"], ["user", "And then?"]],
    );
    // Without it the SDK refers to what it believes is kept, and is told so.
    await assert.rejects(generateText({ ...ask, messages }), (error) => {
      assert.equal(error.statusCode, 400);
      assert.match(error.message, /store: false/);
      return true;
    });
  });
});

describe("embeddings", () => {
  const one = [1, -2];
  const two = [2, -2];
  const sent = async () => JSON.parse((await lastLog("words")).body);

  test("openai asks for base64 unless it is told otherwise", async () => {
    const ai = new OpenAI({ baseURL: `${anteroom}/v1`, apiKey: token, maxRetries: 0 });
    const answer = await ai.embeddings.create({ model: "words", input: ["one", "two"] });
    assert.deepEqual(answer.data.map(({ embedding }) => [...embedding]), [one, two]);
    assert.equal(answer.usage.total_tokens, 6);
    assert.equal((await sent()).encoding_format, "base64");
    const floats = await ai.embeddings.create({ model: "words", input: "one", encoding_format: "float", dimensions: 2 });
    assert.deepEqual(floats.data[0].embedding, one);
    assert.equal((await sent()).dimensions, 2);
  });

  const aiSdks = {
    "@ai-sdk/openai": (token) => createOpenAI({ baseURL: `${anteroom}/v1`, apiKey: token }).embedding("words"),
    "@ai-sdk/openai-compatible": (token) =>
      createOpenAICompatible({ name: "anteroom", baseURL: `${anteroom}/v1`, apiKey: token }).embeddingModel("words"),
  };
  for (const [name, model] of Object.entries(aiSdks)) {
    test(`ai, ${name}`, async () => {
      const single = await embed({ model: model(token), value: "one", maxRetries: 0 });
      assert.deepEqual([single.embedding, single.usage.tokens], [one, 6]);
      const many = await embedMany({ model: model(token), values: ["one", "two"], maxRetries: 0 });
      assert.deepEqual(many.embeddings, [one, two]);
      assert.deepEqual((await sent()).input, ["one", "two"]);
    });
  }

  test("@langchain/openai", async () => {
    const options = { model: "words", apiKey: token, maxRetries: 0, configuration: { baseURL: `${anteroom}/v1` } };
    const ai = new OpenAIEmbeddings(options);
    assert.deepEqual(await ai.embedQuery("one"), one);
    assert.deepEqual(await ai.embedDocuments(["one", "two"]), [one, two]);
    assert.deepEqual((await sent()).input, ["one", "two"]);
  });

  test("refusals have their status and code", async () => {
    const options = { model: "words", maxRetries: 0 };
    const calls = [
      ...Object.values(aiSdks).map((model) => (who) => embed({ model: model(who), value: "one", maxRetries: 0 })),
      (who) => new OpenAI({ baseURL: `${anteroom}/v1`, apiKey: who, maxRetries: 0 }).embeddings.create({ model: "words", input: "one" }),
      (who) => new OpenAIEmbeddings({ ...options, apiKey: who, configuration: { baseURL: `${anteroom}/v1` } }).embedQuery("one"),
    ];
    for (const call of calls) {
      for (const [who, status, code] of [[poor, 402, "quota_exceeded"], ["nonsense", 401, "unauthenticated"]]) {
        await assert.rejects(call(who), (error) => {
          assert.deepEqual([statusOf(error), codeOf(error)], [status, code], `${error}`);
          return true;
        });
      }
    }
  });
});

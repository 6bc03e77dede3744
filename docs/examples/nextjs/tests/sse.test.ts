import assert from "node:assert/strict";
import { test } from "node:test";

import { readEvents, SseParser, type ServerSentEvent } from "../lib/sse";

const wire = 'event: message.delta\ndata: {"text":"Grüße, 👋🏽"}\n\nevent: message.completed\ndata: {}\n\n';
const meant: ServerSentEvent[] = [
  { event: "message.delta", data: '{"text":"Grüße, 👋🏽"}' },
  { event: "message.completed", data: "{}" },
];

function body(chunks: Uint8Array[], onCancel?: () => void): ReadableStream<Uint8Array> {
  let next = 0;
  return new ReadableStream({
    pull(controller) {
      const chunk = chunks[next++];
      if (chunk) controller.enqueue(chunk);
      else controller.close();
    },
    cancel: onCancel,
  });
}

async function collect(stream: ReadableStream<Uint8Array>): Promise<ServerSentEvent[]> {
  const events: ServerSentEvent[] = [];
  for await (const event of readEvents(stream)) events.push(event);
  return events;
}

for (const [name, text] of [
  ["LF", wire],
  ["CRLF", wire.replaceAll("\n", "\r\n")],
  ["CR", wire.replaceAll("\n", "\r")],
] as const) {
  test(`a body with ${name} may be cut at every byte, also inside a character`, async () => {
    const bytes = new TextEncoder().encode(text);
    // With CR alone, the last line end could be half of a CRLF, so the event waits for one byte more.
    const whole = name === "CR" ? new Uint8Array([...bytes, 0x3a]) : bytes;
    for (let cut = 0; cut <= whole.length; cut++) {
      const found = await collect(body([whole.subarray(0, cut), whole.subarray(cut)].filter((part) => part.length > 0)));
      assert.deepEqual(found, meant, `cut at ${cut}`);
    }
    const found = await collect(body([...whole].map((byte) => Uint8Array.of(byte))));
    assert.deepEqual(found, meant, "byte by byte");
  });
}

test("comments, other fields, several lines of data and missing spaces", () => {
  const parser = new SseParser();
  assert.deepEqual(parser.push(": awake\nid: 1\nretry: 5\ndata:a\ndata: b\ndata:  c\ndata\n\n"), [
    { event: "message", data: "a\nb\n c\n" },
  ]);
});

test("a name does not last beyond its event, and an event without data is none", () => {
  const parser = new SseParser();
  assert.deepEqual(parser.push("event: x\n\ndata: 1\n\n"), [{ event: "message", data: "1" }]);
});

test("what is not complete at the end is dropped", async () => {
  assert.deepEqual(await collect(body([new TextEncoder().encode("data: 1\n\ndata: 2\n")])), [
    { event: "message", data: "1" },
  ]);
});

test("leaving the loop ends the request", async () => {
  let cancelled = false;
  const stream = body([new TextEncoder().encode("data: 1\n\n"), new TextEncoder().encode("data: 2\n\n")], () => {
    cancelled = true;
  });
  for await (const event of readEvents(stream)) {
    assert.equal(event.data, "1");
    break;
  }
  assert.ok(cancelled);
});

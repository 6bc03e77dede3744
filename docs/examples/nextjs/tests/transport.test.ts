import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { Anteroom, AnteroomError } from "../lib/anteroom";
import { cookieTransport, tokenTransport, type Exclusive, type RefreshStore } from "../lib/transport";

const real = globalThis.fetch;
afterEach(() => {
  globalThis.fetch = real;
});

interface Call {
  url: string;
  method: string;
  authorization: string | null;
  body: string;
  credentials: string | undefined;
}

/** Answers instead of the network, and keeps what was asked. */
function network(answer: (call: Call) => Response | Promise<Response>): Call[] {
  const calls: Call[] = [];
  globalThis.fetch = async (input, init) => {
    const call: Call = {
      url: String(input),
      method: init?.method ?? "GET",
      authorization: new Headers(init?.headers).get("authorization"),
      body: typeof init?.body === "string" ? init.body : "",
      credentials: init?.credentials,
    };
    calls.push(call);
    return answer(call);
  };
  return calls;
}

const json = (status: number, body: object) => new Response(JSON.stringify(body), { status });
const session = { status: "ok", user: { id: "u" }, session: { id: "s" } };

function shared(): { store: RefreshStore; exclusive: Exclusive } {
  let kept: string | null = null;
  let last: Promise<unknown> = Promise.resolve();
  return {
    store: { get: () => kept, set: (token) => void (kept = token) },
    exclusive: (work) => {
      const turn = last.then(work);
      last = turn.catch(() => undefined);
      return turn;
    },
  };
}

/** A server whose refresh tokens are good once. */
function rotating() {
  let generation = 0;
  let live = "access-0";
  const tokens = () => ({ access_token: live, expires_in: 900, refresh_token: `refresh-${generation}` });
  const calls = network((call) => {
    if (call.url.endsWith("/v1/auth/login")) return json(200, { ...session, ...tokens() });
    if (call.url.endsWith("/v1/auth/refresh")) {
      const { refresh_token: presented } = JSON.parse(call.body) as { refresh_token: string };
      if (presented !== `refresh-${generation}`) return json(401, { code: "invalid_refresh_token", detail: "…" });
      generation += 1;
      live = `access-${generation}`;
      return json(200, { ...session, ...tokens() });
    }
    if (call.authorization !== `Bearer ${live}`) return json(401, { code: "unauthenticated", detail: "…" });
    return json(200, { id: "u" });
  });
  return { calls, kill: () => void (live = "none"), refreshes: () => calls.filter((c) => c.url.endsWith("/refresh")).length };
}

test("by cookie every call stays on this origin and asks for the transport", async () => {
  const calls = network(() => json(200, session));
  const anteroom = new Anteroom(cookieTransport());
  assert.equal((await anteroom.logIn("ada@example.com", "seven quiet rooms")).status, "ok");
  assert.equal(calls[0]?.url, "/api/anteroom/v1/auth/login");
  assert.equal(calls[0]?.credentials, "same-origin");
  assert.equal(calls[0]?.authorization, null);
  assert.equal((JSON.parse(calls[0]?.body ?? "{}") as { transport: string }).transport, "cookie");
});

test("a new page gets its access token from the refresh token", async () => {
  const server = rotating();
  const { store, exclusive } = shared();
  await new Anteroom(tokenTransport("https://api.example", store, exclusive)).logIn("ada@example.com", "p");
  const reloaded = new Anteroom(tokenTransport("https://api.example", store, exclusive));
  assert.equal((await reloaded.me()).id, "u");
  assert.equal(store.get(), "refresh-1");
  assert.ok(server.calls.every((call) => call.credentials === "omit"));
});

test("many calls of several tabs refresh in turns and nobody is signed out", async () => {
  const server = rotating();
  const { store, exclusive } = shared();
  const tabs = [0, 1, 2].map(() => new Anteroom(tokenTransport("https://api.example", store, exclusive)));
  await tabs[0]?.logIn("ada@example.com", "p");
  // Tabs take each other's place one after the other here, since a new access token ends the one before in this fake.
  for (const tab of tabs) {
    server.kill();
    const before = server.refreshes();
    const found = await Promise.all(Array.from({ length: 20 }, () => tab.me()));
    assert.equal(found.length, 20);
    assert.equal(server.refreshes() - before, 1);
  }
  assert.notEqual(store.get(), null);
});

test("a refused refresh token signs out, a busy server does not", async () => {
  const { store, exclusive } = shared();
  store.set("kept");
  network(() => json(503, { code: "store_unavailable", detail: "…" }));
  const anteroom = new Anteroom(tokenTransport("https://api.example", store, exclusive));
  await assert.rejects(anteroom.me(), (error) => error instanceof AnteroomError && error.status === 503);
  assert.equal(store.get(), "kept");
  network(() => json(401, { code: "invalid_refresh_token", detail: "…" }));
  await assert.rejects(anteroom.me(), (error) => error instanceof AnteroomError && error.signedOut);
  assert.equal(store.get(), null);
});

test("a stream that breaks off is an error, and so is one with an error event", async () => {
  const anteroom = new Anteroom(cookieTransport());
  const run = async (wire: string) => {
    network(() => new Response(wire, { status: 200 }));
    const seen: string[] = [];
    try {
      for await (const event of anteroom.say("c", "hello", new AbortController().signal)) seen.push(event.type);
    } catch (error) {
      seen.push(error instanceof AnteroomError ? error.code : String(error));
    }
    return seen;
  };
  const started = 'event: message.started\ndata: {"message":{}}\n\nevent: message.delta\ndata: {"text":"Hi"}\n\n';
  assert.deepEqual(await run(started), ["started", "delta", "stream_cut"]);
  assert.deepEqual(await run(`${started}event: message.completed\ndata: {"message":{}}\n\n`), [
    "started",
    "delta",
    "completed",
  ]);
  assert.deepEqual(await run(`${started}id: 3\nevent: message.cancelled\ndata: {"message":{}}\n\n`), [
    "started",
    "delta",
    "cancelled",
  ]);
  assert.deepEqual(await run(`${started}event: error\ndata: {"problem":{"status":502,"code":"upstream_error"}}\n\n`), [
    "started",
    "delta",
    "upstream_error",
  ]);
});

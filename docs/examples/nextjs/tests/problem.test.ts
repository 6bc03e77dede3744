import assert from "node:assert/strict";
import { test } from "node:test";

import { safeNext } from "../lib/paths";
import { readError, readRetryAfter, Unreachable } from "../lib/problem";
import { explain } from "../lib/words";

const problem = (status: number, body: object, headers: Record<string, string> = {}) =>
  readError(
    new Response(JSON.stringify(body), { status, headers: { "content-type": "application/problem+json", ...headers } }),
  );

test("a refused field is found by its name", async () => {
  const error = await problem(422, {
    status: 422,
    code: "validation_failed",
    detail: "not an e-mail address",
    request_id: "r1",
    errors: [
      { pointer: "/email", code: "invalid_email", detail: "not an e-mail address" },
      { pointer: "/password", code: "password_too_short", detail: "a password has at least 8 bytes" },
      "nonsense",
    ],
  });
  assert.equal(error.code, "validation_failed");
  assert.equal(error.requestId, "r1");
  assert.equal(error.field("password"), "a password has at least 8 bytes");
  assert.equal(error.field("name"), undefined);
  assert.equal(error.errors.length, 2);
});

test("a used-up limit says when it begins anew", async () => {
  const error = await problem(402, { code: "quota_exceeded", detail: "…", resets_at: "2026-11-26T00:00:00Z" });
  assert.equal(error.resetsAt?.toISOString(), "2026-11-26T00:00:00.000Z");
  assert.match(explain(error), /used up your plan's messages\. It begins anew /);
});

test("waiting is said in words", async () => {
  const limited = await problem(429, { code: "rate_limited", detail: "…" }, { "retry-after": "42" });
  assert.equal(limited.retryAfter, 42);
  assert.equal(explain(limited), "Too many attempts. Try again in 42 seconds.");
  const busy = await problem(503, { code: "too_busy", detail: "…" }, { "retry-after": "600" });
  assert.equal(explain(busy), "The service is busy. Try again in 10 minutes.");
  const now = Date.parse("2026-11-25T10:00:00Z");
  assert.equal(readRetryAfter("Wed, 25 Nov 2026 10:00:30 GMT", now), 30);
  assert.equal(readRetryAfter("soon"), undefined);
  assert.equal(readRetryAfter(null), undefined);
});

test("a wrong password is not an ended session", async () => {
  assert.equal((await problem(401, { code: "invalid_credentials", detail: "…" })).signedOut, false);
  assert.equal((await problem(401, { code: "unauthenticated", detail: "…" })).signedOut, true);
});

test("what is no problem document is an error all the same", async () => {
  const error = await readError(new Response("<h1>Bad gateway</h1>", { status: 502 }));
  assert.equal(error.status, 502);
  assert.equal(error.code, "unreadable_answer");
  assert.equal(explain(error), "The answer failed. Try again.");
  assert.equal((await readError(new Response("null", { status: 500 }))).code, "unreadable_answer");
  assert.match(explain(new Unreachable("…")), /cannot be reached/);
});

test("nobody is sent on to another site", () => {
  assert.equal(safeNext("/account"), "/account");
  assert.equal(safeNext("/chat?c=1"), "/chat?c=1");
  for (const foreign of ["//evil.example", "/\\evil.example", "https://evil.example", "/\t/evil.example", "", null]) {
    assert.equal(safeNext(foreign), "/chat", String(foreign));
  }
});

// What Stripe's own SDK signs against Anteroom's webhook: the SDK says which signatures are right, and Anteroom takes those and
// no others. The other way round, that the SDK takes what stripe-stub signs, is in stripe_sdk_test.mjs.
//
// ANTEROOM_URL says where a server runs that has the two secrets below; without it one is started from ANTEROOM_BIN, or from
// the target folder.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import Stripe from "stripe";

// Two, as while one is replaced by the other.
const secrets = ["whsec_the_old_one", "whsec_the_new_one"];
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const folder = mkdtempSync(path.join(tmpdir(), "anteroom-webhook-"));
const { webhooks } = new Stripe("sk_test_canary");
let base = process.env.ANTEROOM_URL;
let server;
let log = "";

async function freePort() {
  const http = createServer();
  const port = await new Promise((done) => http.listen(0, "127.0.0.1", () => done(http.address().port)));
  await new Promise((done) => http.close(done));
  return port;
}

before(async () => {
  if (base) return;
  const target = process.env.CARGO_TARGET_DIR ?? path.join(root, "target");
  const binary = process.env.ANTEROOM_BIN ?? path.join(target, "debug/anteroom");
  const port = await freePort();
  const env = {
    PATH: process.env.PATH, HOST: "127.0.0.1", PORT: `${port}`, DATA_DIR: path.join(folder, "data"),
    ANTEROOM__BILLING__PROVIDER: "stripe", STRIPE_SECRET_KEY: "sk_test_canary", STRIPE_WEBHOOK_SECRET: secrets.join(","),
    ANTEROOM__METRICS__ENABLED: "false", ANTEROOM__PROTECTION__DEFAULT_PER_MINUTE: "100000",
  };
  server = spawn(binary, [], { cwd: folder, env });
  for (const out of [server.stdout, server.stderr]) out.on("data", (part) => (log += part));
  base = `http://127.0.0.1:${port}`;
  for (let tries = 0; tries < 600; tries += 1) {
    const ready = await fetch(`${base}/health/ready`).catch(() => null);
    if (ready?.ok) return;
    await sleep(50);
  }
  assert.fail(`the server does not start: ${log}`);
});

after(() => {
  server?.kill();
  rmSync(folder, { recursive: true, force: true });
});

let number = 0;

/// An event that nobody acts upon, so that nothing but its signature decides.
function letter() {
  number += 1;
  return JSON.stringify({
    id: `evt_signed_${process.pid}_${number}`, object: "event", api_version: "2026-10-28.endive", created: now(), livemode: false,
    pending_webhooks: 1, request: null, type: "product.created", data: { object: { id: "prod_1", object: "product" } },
  }, null, 2);
}

const now = () => Math.floor(Date.now() / 1000);
const signed = (payload, secret, timestamp = now()) => webhooks.generateTestHeaderString({ payload, secret, timestamp });

/// What Anteroom answers, beside what the SDK says of the same.
async function delivered(payload, header, secret = secrets[0]) {
  const headers = { "content-type": "application/json" };
  if (header !== undefined) headers["stripe-signature"] = header;
  const answer = await fetch(`${base}/v1/billing/webhooks/stripe`, { method: "POST", headers, body: payload });
  await answer.text();
  let right = true;
  try {
    webhooks.constructEvent(payload, header ?? "", secret);
  } catch {
    // Of a signature without a digit it throws another error than of a wrong one.
    right = false;
  }
  return { status: answer.status, right };
}

describe("what the SDK signs", () => {
  test("is taken, with either secret", async () => {
    for (const secret of secrets) {
      const payload = letter();
      assert.deepEqual(await delivered(payload, signed(payload, secret), secret), { status: 200, right: true });
    }
    // One that came with both signatures, as Stripe sends it while a secret is rolled.
    const payload = letter();
    const [first, second] = ["whsec_gone", secrets[1]].map((secret) => signed(payload, secret).split(",")[1]);
    const both = `t=${now()},${first},${second}`;
    assert.deepEqual(await delivered(payload, both, secrets[1]), { status: 200, right: true });
  });

  test("is taken as long as the SDK takes it", async () => {
    for (const [age, right] of [[0, true], [290, true], [310, false], [3600, false], [86_400 * 30, false]]) {
      const payload = letter();
      const header = signed(payload, secrets[0], now() - age);
      assert.deepEqual(await delivered(payload, header), { status: right ? 200 : 400, right }, `${age} s old`);
    }
  });
});

describe("what it does not take", () => {
  test("is refused: another secret, another body, no signature", async () => {
    const payload = letter();
    const header = signed(payload, secrets[0]);
    const refused = { status: 400, right: false };
    assert.deepEqual(await delivered(payload, signed(payload, "whsec_other")), refused);
    assert.deepEqual(await delivered(payload, signed(payload, "")), refused);
    assert.deepEqual(await delivered(`${payload} `, header), refused);
    assert.deepEqual(await delivered(payload.replace("product.created", "invoice.paid"), header), refused);
    assert.deepEqual(await delivered(payload.slice(0, -1), header), refused);
    assert.deepEqual(await delivered(payload, undefined), refused);
    // The signature of another time.
    const other = signed(payload, secrets[0], now() - 5).split(",")[1];
    assert.deepEqual(await delivered(payload, `t=${now()},${other}`), refused);
  });

  test("is refused: a header that was cut anywhere", async () => {
    const payload = letter();
    const header = signed(payload, secrets[0]);
    for (let length = 0; length < header.length; length += 1) {
      const { status, right } = await delivered(payload, header.slice(0, length));
      assert.deepEqual({ status, right }, { status: 400, right: false }, `cut to ${length} of ${header.length}`);
    }
    assert.deepEqual(await delivered(payload, header), { status: 200, right: true });
  });

  test("is refused: a signature with any digit changed", async () => {
    const payload = letter();
    const header = signed(payload, secrets[0]);
    const start = header.indexOf("v1=") + 3;
    for (let place = start; place < header.length; place += 1) {
      const digit = header[place] === "0" ? "1" : "0";
      const forged = header.slice(0, place) + digit + header.slice(place + 1);
      const { status, right } = await delivered(payload, forged);
      assert.deepEqual({ status, right }, { status: 400, right: false }, `digit ${place - start}`);
    }
  });
});

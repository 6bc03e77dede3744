// Stripe's own SDK against stripe-stub, unchanged: it takes the stub for Stripe.
//
// STRIPE_STUB_URL says where one runs alone (its key in STRIPE_STUB_KEY); without it one is started from ANTEROOM_BIN, or
// from the target folder.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import Stripe from "stripe";

const key = process.env.STRIPE_STUB_KEY ?? "sk_test_stub";
const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../..");
const day = 86_400;
let base = process.env.STRIPE_STUB_URL;
let server;
let stripe;

const listening = (http) => new Promise((done) => http.listen(0, "127.0.0.1", () => done(http.address().port)));

async function freePort() {
  const http = createServer();
  const port = await listening(http);
  await new Promise((done) => http.close(done));
  return port;
}

function client(secret = key) {
  const { hostname: host, port } = new URL(base);
  return new Stripe(secret, { host, port, protocol: "http", maxNetworkRetries: 0, telemetry: false });
}

before(async () => {
  if (!base) {
    const target = process.env.CARGO_TARGET_DIR ?? path.join(root, "target");
    const binary = process.env.ANTEROOM_BIN ?? path.join(target, "debug/anteroom");
    const port = await freePort();
    server = spawn(binary, ["stripe-stub", "--port", `${port}`, "--secret-key", key], { stdio: "inherit" });
    base = `http://127.0.0.1:${port}`;
    for (let tries = 0; tries < 200; tries += 1) {
      if (await fetch(`${base}/checkout/none`).catch(() => null)) break;
      await sleep(50);
    }
  }
  stripe = client();
});

after(() => server?.kill());

async function control(method, where, body) {
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  const answer = await fetch(`${base}/_stub/${where}`, { method, headers, body: body && JSON.stringify(body) });
  assert.equal(answer.status, 200);
  return answer.json();
}

const advance = (days) => control("POST", "clock/advance", { seconds: days * day });
const submit = (url, form) => fetch(url, { method: "POST", redirect: "manual", body: form && new URLSearchParams(form) });

const newPrice = (amount = 1900, more = {}) =>
  stripe.prices.create({
    currency: "usd",
    unit_amount: amount,
    recurring: { interval: "month" },
    product_data: { name: "Pro" },
    ...more,
  });

const newCustomer = (card = "pm_card_visa") =>
  stripe.customers.create({
    email: `${randomUUID()}@example.com`,
    ...(card && { payment_method: card, invoice_settings: { default_payment_method: card } }),
  });

const subscribe = (customer, price, more = {}) =>
  stripe.subscriptions.create({ customer: customer.id, items: [{ price: price.id }], ...more });

describe("the catalogue", () => {
  test("products and prices", async () => {
    const product = await stripe.products.create({ name: "Many", metadata: { a: "1" } });
    await stripe.products.update(product.id, { description: "d" });
    assert.equal((await stripe.products.retrieve(product.id)).description, "d");
    const made = [];
    for (let amount = 1; amount < 6; amount += 1) {
      made.unshift((await stripe.prices.create({ currency: "usd", unit_amount: amount, product: product.id })).id);
    }
    const listed = await stripe.prices.list({ product: product.id, limit: 2 }).autoPagingToArray({ limit: 100 });
    assert.deepEqual(listed.map((price) => price.id), made);
    const lookup_key = randomUUID();
    const price = await newPrice(1900, { lookup_key });
    const found = await stripe.prices.list({ lookup_keys: [lookup_key], expand: ["data.product"] });
    assert.deepEqual(found.data.map((one) => [one.id, one.product.name]), [[price.id, "Pro"]]);
    assert.equal((await stripe.prices.update(price.id, { nickname: "n" })).nickname, "n");
  });

  test("coupons and promotion codes", async () => {
    const coupon = await stripe.coupons.create({ amount_off: 500, currency: "usd", duration: "once" });
    const code = await stripe.promotionCodes.create({ promotion: { type: "coupon", coupon: coupon.id } });
    const subscription = await subscribe(await newCustomer(), await newPrice(), {
      discounts: [{ promotion_code: code.id }],
      expand: ["latest_invoice"],
    });
    assert.equal((await stripe.invoices.retrieve(subscription.latest_invoice.id)).total, 1400);
    assert.equal((await stripe.promotionCodes.retrieve(code.id)).times_redeemed, 1);
  });
});

describe("customers", () => {
  test("made, found, changed, deleted", async () => {
    const customer = await newCustomer(null);
    assert.equal((await stripe.customers.list({ email: customer.email })).data[0].id, customer.id);
    const card = await stripe.paymentMethods.attach("pm_card_visa", { customer: customer.id });
    const changed = await stripe.customers.update(customer.id, { invoice_settings: { default_payment_method: card.id } });
    assert.equal(changed.invoice_settings.default_payment_method, card.id);
    const cards = await stripe.customers.listPaymentMethods(customer.id);
    assert.deepEqual(cards.data.map((one) => one.card.fingerprint), [card.card.fingerprint]);
    assert.equal((await stripe.customers.del(customer.id)).deleted, true);
  });
});

describe("checkout and portal", () => {
  test("paid, with a subscription", async () => {
    const session = await stripe.checkout.sessions.create({
      mode: "subscription",
      customer: (await newCustomer(null)).id,
      client_reference_id: "account:1",
      line_items: [{ price: (await newPrice()).id, quantity: 2 }],
      subscription_data: { metadata: { owner: "1" } },
      success_url: "https://app.example/ok?s={CHECKOUT_SESSION_ID}",
      cancel_url: "https://app.example/",
      allow_promotion_codes: true,
    });
    assert.equal((await submit(session.url, { outcome: "declined" })).status, 402);
    const paid = await submit(session.url);
    assert.deepEqual([paid.status, paid.headers.get("location")], [303, `https://app.example/ok?s=${session.id}`]);
    const found = await stripe.checkout.sessions.retrieve(session.id, { expand: ["subscription"] });
    assert.deepEqual([found.status, found.subscription.status, found.amount_total], ["complete", "active", 3800]);
    const portal = await stripe.billingPortal.sessions.create({ customer: found.customer, return_url: "https://app.example/" });
    const form = { action: "cancel", subject: found.subscription.id };
    assert.equal((await submit(portal.url, form)).status, 303);
    const { cancel_at, items } = await stripe.subscriptions.retrieve(found.subscription.id);
    assert.equal(cancel_at, items.data[0].current_period_end);
    const other = await stripe.checkout.sessions.create({
      mode: "subscription",
      line_items: [{ quantity: 1, price_data: { currency: "usd", unit_amount: 5, recurring: { interval: "year" }, product_data: { name: "X" } } }],
      success_url: "https://app.example/",
    });
    assert.equal((await stripe.checkout.sessions.expire(other.id)).status, "expired");
  });
});

async function buyOnce(outcome = "paid") {
  const price_data = { currency: "usd", unit_amount: 1000, product_data: { name: "1,000 credits" } };
  const session = await stripe.checkout.sessions.create({
    mode: "payment",
    customer: (await newCustomer(null)).id,
    client_reference_id: "account:1",
    line_items: [{ price_data, quantity: 3 }],
    metadata: { pack: "big" },
    payment_intent_data: { metadata: { pack: "big" } },
    success_url: "https://app.example/ok?s={CHECKOUT_SESSION_ID}",
    cancel_url: "https://app.example/",
  });
  assert.equal((await submit(session.url, { outcome: "declined" })).status, 402);
  const paid = await submit(session.url, { outcome });
  assert.deepEqual([paid.status, paid.headers.get("location")], [303, `https://app.example/ok?s=${session.id}`]);
  return stripe.checkout.sessions.retrieve(session.id, { expand: ["payment_intent.latest_charge"] });
}

describe("what is bought once", () => {
  test("paid, and given back in two parts", async () => {
    const session = await buyOnce();
    const { payment_intent: intent } = session;
    assert.deepEqual([session.status, session.payment_status, session.amount_total], ["complete", "paid", 3000]);
    assert.deepEqual([intent.status, intent.amount_received, { ...intent.metadata }], ["succeeded", 3000, { pack: "big" }]);
    const found = await stripe.checkout.sessions.list({
      payment_intent: intent.id,
      limit: 1,
      expand: ["data.payment_intent.latest_charge"],
    });
    assert.deepEqual(found.data.map((one) => [one.id, one.payment_intent.latest_charge.paid]), [[session.id, true]]);

    const part = await stripe.refunds.create({ payment_intent: intent.id, amount: 1200, metadata: { why: "x" } });
    assert.deepEqual([part.amount, part.status, part.metadata.why], [1200, "succeeded", "x"]);
    await assert.rejects(stripe.refunds.create({ payment_intent: intent.id, amount: 1801 }), (error) => {
      assert.ok(error instanceof Stripe.errors.StripeInvalidRequestError);
      assert.deepEqual([error.param, error.statusCode], ["amount", 400]);
      return true;
    });
    await stripe.refunds.create({ charge: part.charge });
    const charge = await stripe.charges.retrieve(part.charge);
    assert.deepEqual([charge.amount_refunded, charge.refunded], [3000, true]);
    const refunds = await stripe.refunds.list({ payment_intent: intent.id });
    assert.deepEqual(refunds.data.map((one) => one.amount), [1800, 1200]);
    const told = await stripe.events.list({ types: ["checkout.session.completed", "charge.refunded"], limit: 3 });
    assert.deepEqual(told.data.map((one) => one.type), ["charge.refunded", "charge.refunded", "checkout.session.completed"]);
    assert.equal(told.data[0].data.object.payment_intent, intent.id);
  });

  test("disputed, and won", async () => {
    const { payment_intent: intent } = await buyOnce("disputed");
    const [dispute] = (await stripe.disputes.list({ payment_intent: intent.id })).data;
    assert.deepEqual([dispute.status, dispute.charge], ["needs_response", intent.latest_charge.id]);
    const won = await stripe.disputes.update(dispute.id, { evidence: { uncategorized_text: "winning_evidence" }, submit: true });
    assert.equal(won.status, "won");
  });
});

describe("subscriptions", () => {
  test("changed now, as its preview says, and ended", async () => {
    const subscription = await subscribe(await newCustomer(), await newPrice(1000));
    const items = [{ id: subscription.items.data[0].id, price: (await newPrice(3000)).id }];
    const details = { items, proration_behavior: "always_invoice", proration_date: Math.floor(Date.now() / 1000) };
    const preview = await stripe.invoices.createPreview({ subscription: subscription.id, subscription_details: details });
    const changed = await stripe.subscriptions.update(subscription.id, {
      ...details,
      payment_behavior: "error_if_incomplete",
      expand: ["latest_invoice"],
    });
    assert.equal(changed.latest_invoice.amount_paid, preview.amount_due);
    assert.equal((await stripe.subscriptions.cancel(subscription.id, { prorate: true })).status, "canceled");
  });

  test("changed with the period's end by a schedule", async () => {
    const [big, small] = [await newPrice(3000), await newPrice(1000)];
    const subscription = await subscribe(await newCustomer(), big);
    const schedule = await stripe.subscriptionSchedules.create({ from_subscription: subscription.id });
    const { start_date, end_date } = schedule.phases[0];
    await stripe.subscriptionSchedules.update(schedule.id, {
      end_behavior: "release",
      phases: [
        { items: [{ price: big.id, quantity: 1 }], start_date, end_date },
        { items: [{ price: small.id, quantity: 1 }], proration_behavior: "none" },
      ],
    });
    await advance(32);
    const found = await stripe.subscriptions.retrieve(subscription.id, { expand: ["latest_invoice", "schedule"] });
    assert.deepEqual([found.items.data[0].price.id, found.latest_invoice.amount_paid], [small.id, 1000]);
    assert.equal((await stripe.subscriptionSchedules.release(schedule.id)).status, "released");
  });

  test("past due, and paid after all", async () => {
    const subscription = await subscribe(await newCustomer(), await newPrice());
    await stripe.subscriptions.update(subscription.id, { default_payment_method: "pm_card_chargeCustomerFail" });
    await advance(32);
    const found = await stripe.subscriptions.retrieve(subscription.id);
    assert.equal(found.status, "past_due");
    await assert.rejects(stripe.invoices.pay(found.latest_invoice), (error) => {
      assert.ok(error instanceof Stripe.errors.StripeCardError);
      assert.deepEqual([error.code, error.decline_code, error.statusCode], ["card_declined", "generic_decline", 402]);
      return true;
    });
    const paid = await stripe.invoices.pay(found.latest_invoice, { payment_method: "pm_card_visa" });
    assert.equal(paid.parent.subscription_details.subscription, subscription.id);
    assert.equal((await stripe.subscriptions.retrieve(subscription.id)).status, "active");
    const open = await subscribe(await newCustomer(), await newPrice(), { payment_behavior: "default_incomplete" });
    assert.equal((await stripe.invoices.voidInvoice(open.latest_invoice)).status, "void");
  });

  test("a trial that pauses and is resumed", async () => {
    const customer = await newCustomer(null);
    const subscription = await subscribe(customer, await newPrice(), {
      trial_period_days: 7,
      trial_settings: { end_behavior: { missing_payment_method: "pause" } },
    });
    await advance(8);
    assert.equal((await stripe.subscriptions.retrieve(subscription.id)).status, "paused");
    await stripe.customers.update(customer.id, { invoice_settings: { default_payment_method: "pm_card_visa" } });
    assert.equal((await stripe.subscriptions.resume(subscription.id)).status, "active");
  });

  test("under a test clock", async () => {
    const { unix } = await control("GET", "clock");
    const clock = await stripe.testHelpers.testClocks.create({ frozen_time: unix });
    const moved = await stripe.testHelpers.testClocks.advance(clock.id, { frozen_time: unix + day });
    assert.equal(moved.status, "ready");
    assert.equal((await stripe.testHelpers.testClocks.del(clock.id)).deleted, true);
  });
});

describe("meters", () => {
  test("count once what is reported twice", async () => {
    const event_name = `tokens_${randomUUID()}`;
    const meter = await stripe.billing.meters.create({
      display_name: "Tokens",
      event_name,
      default_aggregation: { formula: "sum" },
    });
    const customer = await newCustomer(null);
    const event = { event_name, identifier: randomUUID(), payload: { stripe_customer_id: customer.id, value: "25" } };
    await stripe.billing.meterEvents.create(event);
    await assert.rejects(stripe.billing.meterEvents.create(event), /already exists with identifier/);
    const { unix } = await control("GET", "clock");
    const minute = Math.floor(unix / 60) * 60;
    const span = { customer: customer.id, start_time: minute - 60, end_time: minute + 120 };
    const sums = await stripe.billing.meters.listEventSummaries(meter.id, span);
    assert.deepEqual(sums.data.map((sum) => sum.aggregated_value), [25]);
    assert.equal((await stripe.billing.meters.deactivate(meter.id)).status, "inactive");
  });
});

describe("webhooks", () => {
  test("are verified by the SDK", async () => {
    const letters = [];
    const receiver = createServer((request, response) => {
      let body = "";
      request.on("data", (part) => (body += part));
      request.on("end", () => {
        letters.push([body, request.headers["stripe-signature"]]);
        response.end();
      });
    });
    const url = `http://127.0.0.1:${await listening(receiver)}/`;
    const endpoint = await stripe.webhookEndpoints.create({ url, enabled_events: ["product.created", "product.updated"] });
    const product = await stripe.products.create({ name: "a" });
    await stripe.products.update(product.id, { name: "b" });
    for (let tries = 0; tries < 500 && letters.length < 2; tries += 1) await sleep(20);
    const events = letters.map(([body, signature]) => stripe.webhooks.constructEvent(body, signature, endpoint.secret));
    assert.deepEqual(events.map((event) => event.type), ["product.created", "product.updated"]);
    assert.equal(events[1].data.previous_attributes.name, "a");
    const [body, signature] = letters[0];
    const { StripeSignatureVerificationError: Refused } = Stripe.errors;
    assert.throws(() => stripe.webhooks.constructEvent(`${body} `, signature, endpoint.secret), Refused);
    assert.throws(() => stripe.webhooks.constructEvent(body, signature, "whsec_other"), Refused);
    assert.equal((await stripe.events.retrieve(events[0].id)).data.object.id, product.id);
    assert.ok((await stripe.events.list({ type: "product.*", limit: 100 })).data.some((one) => one.id === events[0].id));
    assert.equal((await stripe.webhookEndpoints.del(endpoint.id)).deleted, true);
    receiver.closeAllConnections();
    receiver.close();
  });
});

describe("refusals", () => {
  test("are the SDK's errors", async () => {
    const { errors } = Stripe;
    await assert.rejects(stripe.customers.retrieve("cus_nobody"), (error) => {
      assert.ok(error instanceof errors.StripeInvalidRequestError);
      assert.deepEqual([error.code, error.param, error.statusCode], ["resource_missing", "id", 404]);
      return true;
    });
    await assert.rejects(client("sk_test_wrong").customers.list(), errors.StripeAuthenticationError);
    await assert.rejects(client("sk_live_wrong").customers.list(), errors.StripeAuthenticationError);
    const options = { idempotencyKey: randomUUID() };
    const [one, two] = [await stripe.customers.create({ name: "a" }, options), await stripe.customers.create({ name: "a" }, options)];
    assert.equal(one.id, two.id);
    assert.ok(two.lastResponse.requestId.startsWith("req_"));
    await assert.rejects(stripe.customers.create({ name: "b" }, options), errors.StripeIdempotencyError);
  });
});

// What the SDK's own types say that an object has.
function membersOf(file, name) {
  const types = readFileSync(new URL(`node_modules/stripe/esm/resources/${file}.d.ts`, import.meta.url), "utf8");
  const body = types.replace(/\/\*\*[\s\S]*?\*\//g, "").match(new RegExp(`export interface ${name} \\{\\n([\\s\\S]*?)\\n\\}`))[1];
  return [...body.matchAll(/^ {4}(\w+)(\??):/gm)].map(([, member, optional]) => [member, optional === "?"]);
}

describe("objects", () => {
  test("have every member that the SDK's types ask for, and none that they do not know", async () => {
    const price = await newPrice();
    const customer = await newCustomer();
    const coupon = await stripe.coupons.create({ percent_off: 10, duration: "once" });
    const subscription = await subscribe(customer, price, {
      discounts: [{ coupon: coupon.id }],
      expand: ["latest_invoice.discounts"],
    });
    const session = await stripe.checkout.sessions.create({
      mode: "subscription",
      line_items: [{ price: price.id, quantity: 1 }],
      success_url: "https://app.example/",
    });
    const [item] = subscription.items.data;
    const once = await buyOnce("disputed");
    const refund = await stripe.refunds.create({ payment_intent: (await buyOnce()).payment_intent.id, amount: 1 });
    const objects = [
      ["Prices", "Price", price],
      ["Products", "Product", await stripe.products.retrieve(price.product)],
      ["Customers", "Customer", customer],
      ["PaymentMethods", "PaymentMethod", (await stripe.customers.listPaymentMethods(customer.id)).data[0]],
      ["Coupons", "Coupon", coupon],
      ["PromotionCodes", "PromotionCode", await stripe.promotionCodes.create({ promotion: { type: "coupon", coupon: coupon.id } })],
      ["Subscriptions", "Subscription", await stripe.subscriptions.retrieve(subscription.id)],
      ["SubscriptionItems", "SubscriptionItem", item],
      ["Plans", "Plan", item.plan],
      ["Invoices", "Invoice", subscription.latest_invoice],
      ["InvoiceLineItems", "InvoiceLineItem", subscription.latest_invoice.lines.data[0]],
      ["Discounts", "Discount", subscription.latest_invoice.discounts[0]],
      ["SubscriptionSchedules", "SubscriptionSchedule", await stripe.subscriptionSchedules.create({ from_subscription: subscription.id })],
      ["Checkout/Sessions", "Session", session],
      ["Checkout/Sessions", "Session", once],
      ["PaymentIntents", "PaymentIntent", once.payment_intent],
      ["Charges", "Charge", once.payment_intent.latest_charge],
      ["Refunds", "Refund", refund],
      ["Disputes", "Dispute", (await stripe.disputes.list({ payment_intent: once.payment_intent.id })).data[0]],
      ["LineItems", "LineItem", (await stripe.checkout.sessions.listLineItems(session.id)).data[0]],
      ["BillingPortal/Sessions", "Session", await stripe.billingPortal.sessions.create({ customer: customer.id })],
      ["BillingPortal/Configurations", "Configuration", (await stripe.billingPortal.configurations.list()).data[0]],
      [
        "Billing/Meters",
        "Meter",
        await stripe.billing.meters.create({ display_name: "x", event_name: randomUUID(), default_aggregation: { formula: "sum" } }),
      ],
    ];
    for (const [file, name, object] of objects) {
      const members = membersOf(file, name);
      const there = Object.keys(object).filter((member) => member !== "lastResponse");
      const missing = members.filter(([member, optional]) => !optional && !there.includes(member)).map(([member]) => member);
      const unknown = there.filter((member) => !members.some(([known]) => known === member));
      assert.deepEqual([name, missing, unknown], [name, [], []]);
    }
  });
});

"""Stripe's own SDK against stripe-stub, unchanged: it takes the stub for Stripe.

STRIPE_STUB_URL says where one runs alone (its key in STRIPE_STUB_KEY); without it one is started from ANTEROOM_BIN,
or from the target folder."""

import http.server
import json
import os
import socket
import subprocess
import threading
import time
import unittest
import urllib.request
import uuid
from pathlib import Path

import stripe
from stripe import StripeClient

KEY = os.environ.get("STRIPE_STUB_KEY", "sk_test_stub")
ROOT = Path(__file__).resolve().parent.parent.parent
DAY = 86_400
base = os.environ.get("STRIPE_STUB_URL")
server = None


def setUpModule():
    global base, server
    if base:
        return
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    binary = os.environ.get("ANTEROOM_BIN", target / "debug" / "anteroom")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([str(binary), "stripe-stub", "--port", str(port), "--secret-key", KEY])
    base = f"http://127.0.0.1:{port}"
    for _ in range(200):
        try:
            urllib.request.urlopen(base + "/checkout/none")
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("stripe-stub does not answer")


def tearDownModule():
    if server:
        server.kill()
        server.wait()


def client(key=KEY, retries=0):
    return StripeClient(key, base_addresses={"api": base}, max_network_retries=retries)


def control(method, path, body):
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    request = urllib.request.Request(f"{base}/_stub/{path}", json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def advance(days):
    control("POST", "clock/advance", {"seconds": days * DAY})


class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def submit(url, form=b""):
    """Sends a page's form and answers the status and where it leads."""
    try:
        answer = urllib.request.build_opener(Stay).open(urllib.request.Request(url, data=form, method="POST"))
        return answer.status, None
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers.get("location")


class Letters(http.server.BaseHTTPRequestHandler):
    """A webhook that keeps what it gets."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.letters.append((body, self.headers["stripe-signature"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


class Bench(unittest.TestCase):
    def setUp(self):
        self.api = client().v1

    def price(self, amount=1900, interval="month", **more):
        form = {"currency": "usd", "unit_amount": amount, "recurring": {"interval": interval}, "product_data": {"name": "Pro"}}
        return self.api.prices.create({**form, **more})

    def customer(self, card="pm_card_visa", **more):
        form = {"email": f"{uuid.uuid4()}@example.com", **more}
        if card:
            form |= {"payment_method": card, "invoice_settings": {"default_payment_method": card}}
        return self.api.customers.create(form)

    def subscribe(self, customer, price, **more):
        return self.api.subscriptions.create({"customer": customer.id, "items": [{"price": price.id}], **more})


class Catalogue(Bench):
    def test_products(self):
        product = self.api.products.create({"name": "Pro", "metadata": {"a": "1"}})
        self.assertEqual("product", product.object)
        changed = self.api.products.update(product.id, {"name": "Pro 2", "metadata": {"a": "", "b": "2"}})
        self.assertEqual(("Pro 2", {"b": "2"}), (changed.name, changed.metadata.to_dict()))
        self.assertEqual("Pro 2", self.api.products.retrieve(product.id).name)
        self.assertIn(product.id, [p.id for p in self.api.products.list({"limit": 100, "active": True}).data])
        self.assertTrue(self.api.products.delete(product.id).deleted)

    def test_prices(self):
        key = f"key-{uuid.uuid4()}"
        price = self.price(lookup_key=key, nickname="n", metadata={"plan": "pro"})
        self.assertEqual(("recurring", 1900, "month"), (price.type, price.unit_amount, price.recurring.interval))
        found = self.api.prices.list({"lookup_keys": [key], "active": True, "expand": ["data.product"]})
        self.assertEqual([("Pro", price.id)], [(p.product.name, p.id) for p in found.data])
        other = self.price(amount=2900, lookup_key=key, transfer_lookup_key=True)
        self.assertIsNone(self.api.prices.retrieve(price.id).lookup_key)
        self.assertFalse(self.api.prices.update(other.id, {"active": False}).active)
        self.assertEqual([], self.api.prices.list({"lookup_keys": [key], "active": True}).data)

    def test_coupons_and_codes(self):
        coupon = self.api.coupons.create({"percent_off": 25, "duration": "repeating", "duration_in_months": 3})
        self.assertEqual(25, self.api.coupons.retrieve(coupon.id).percent_off)
        word = f"C{uuid.uuid4().hex[:8]}".upper()
        code = self.api.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon.id}, "code": word})
        listed = self.api.promotion_codes.list({"code": word, "expand": ["data.promotion.coupon"]})
        self.assertEqual([(code.id, 25)], [(c.id, c.promotion.coupon.percent_off) for c in listed.data])
        subscription = self.subscribe(self.customer(), self.price(), discounts=[{"promotion_code": code.id}])
        invoice = self.api.invoices.retrieve(subscription.latest_invoice)
        self.assertEqual((1425, 475), (invoice.total, invoice.total_discount_amounts[0].amount))
        discount = self.api.subscriptions.retrieve(subscription.id, {"expand": ["discounts"]}).discounts[0]
        self.assertEqual((coupon.id, code.id), (discount.source.coupon, discount.promotion_code))
        self.assertTrue(self.api.coupons.delete(coupon.id).deleted)


class Customers(Bench):
    def test_customers(self):
        customer = self.customer(card=None, name="Ada")
        self.api.customers.update(customer.id, {"description": "d", "balance": -500})
        self.assertEqual(-500, self.api.customers.retrieve(customer.id).balance)
        self.assertEqual([customer.id], [c.id for c in self.api.customers.list({"email": customer.email}).data])
        self.assertTrue(self.api.customers.delete(customer.id).deleted)
        self.assertTrue(self.api.customers.retrieve(customer.id).deleted)

    def test_payment_methods(self):
        customer = self.customer(card=None)
        method = self.api.payment_methods.attach("pm_card_visa", {"customer": customer.id})
        self.assertEqual(("4242", customer.id), (method.card.last4, method.customer))
        self.api.customers.update(customer.id, {"invoice_settings": {"default_payment_method": method.id}})
        listed = self.api.customers.payment_methods.list(customer.id).data
        self.assertEqual([method.card.fingerprint], [m.card.fingerprint for m in listed])
        self.assertEqual([method.id], [m.id for m in self.api.payment_methods.list({"customer": customer.id}).data])
        self.assertIsNone(self.api.payment_methods.detach(method.id).customer)

    def test_lists_page_by_themselves(self):
        product = self.api.products.create({"name": "Many"})
        made = [self.api.prices.create({"currency": "usd", "unit_amount": n, "product": product.id}).id for n in range(1, 8)]
        listed = self.api.prices.list({"product": product.id, "limit": 3})
        self.assertEqual(made[::-1], [price.id for price in listed.auto_paging_iter()])


class Checkout(Bench):
    def session(self, **more):
        form = {
            "mode": "subscription",
            "line_items": [{"price": self.price().id, "quantity": 1}],
            "success_url": "https://app.example/ok?s={CHECKOUT_SESSION_ID}",
        }
        return self.api.checkout.sessions.create({**form, **more})

    def test_paid(self):
        customer = self.customer(card=None)
        about = {"client_reference_id": "account:1", "metadata": {"a": "b"}, "subscription_data": {"metadata": {"owner": "1"}}}
        session = self.session(customer=customer.id, **about)
        self.assertEqual(("open", "unpaid", 1900), (session.status, session.payment_status, session.amount_total))
        self.assertEqual((402, None), submit(session.url, b"outcome=declined"))
        self.assertEqual((303, f"https://app.example/ok?s={session.id}"), submit(session.url))
        expand = {"expand": ["subscription.latest_invoice", "line_items", "customer"]}
        session = self.api.checkout.sessions.retrieve(session.id, expand)
        self.assertEqual(("complete", "paid", None), (session.status, session.payment_status, session.url))
        self.assertEqual(("active", {"owner": "1"}), (session.subscription.status, session.subscription.metadata.to_dict()))
        self.assertEqual("paid", session.subscription.latest_invoice.status)
        self.assertEqual(1900, session.line_items.data[0].price.unit_amount)
        of_it = self.api.checkout.sessions.list({"subscription": session.subscription.id}).data
        self.assertEqual([session.id], [s.id for s in of_it])
        self.assertEqual(1, len(self.api.checkout.sessions.line_items.list(session.id).data))

    def test_expired(self):
        session = self.session()
        self.assertEqual("expired", self.api.checkout.sessions.expire(session.id).status)
        self.assertEqual(404, submit(session.url)[0])
        with self.assertRaises(stripe.InvalidRequestError):
            self.api.checkout.sessions.expire(session.id)

    def test_portal(self):
        customer = self.customer()
        self.subscribe(customer, self.price())
        session = self.api.billing_portal.sessions.create({"customer": customer.id, "return_url": "https://app.example/"})
        with urllib.request.urlopen(session.url) as page:
            self.assertIn("https://app.example/", page.read().decode())
        made = self.api.billing_portal.configurations.create({"features": {"invoice_history": {"enabled": True}}})
        self.assertIn(made.id, [c.id for c in self.api.billing_portal.configurations.list().data])


class Once(Bench):
    def buy(self, outcome=b"", **more):
        line = {"price_data": {"currency": "usd", "unit_amount": 1000, "product_data": {"name": "1,000 credits"}}, "quantity": 3}
        form = {
            "mode": "payment",
            "line_items": [line],
            "metadata": {"pack": "big"},
            "payment_intent_data": {"metadata": {"pack": "big"}},
            "success_url": "https://app.example/ok?s={CHECKOUT_SESSION_ID}",
        }
        session = self.api.checkout.sessions.create({**form, **more})
        self.assertEqual(("open", 3000, None), (session.status, session.amount_total, session.payment_intent))
        self.assertEqual((402, None), submit(session.url, b"outcome=declined"))
        self.assertEqual((303, f"https://app.example/ok?s={session.id}"), submit(session.url, outcome))
        return self.api.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent.latest_charge"]})

    def test_paid_and_refunded(self):
        customer = self.customer(card=None)
        session = self.buy(customer=customer.id, client_reference_id="account:1")
        self.assertEqual(("complete", "paid", customer.id), (session.status, session.payment_status, session.customer))
        intent = session.payment_intent
        self.assertEqual(("succeeded", 3000, {"pack": "big"}), (intent.status, intent.amount_received, intent.metadata.to_dict()))
        self.assertEqual([session.id], [s.id for s in self.api.checkout.sessions.list({"payment_intent": intent.id}).data])
        self.assertEqual(["succeeded", "failed"], [c.status for c in self.api.charges.list({"payment_intent": intent.id}).data])
        self.assertIn(intent.id, [i.id for i in self.api.payment_intents.list({"customer": customer.id}).data])

        part = self.api.refunds.create({"payment_intent": intent.id, "amount": 1200, "reason": "requested_by_customer"})
        self.assertEqual((1200, "succeeded", intent.latest_charge.id), (part.amount, part.status, part.charge))
        with self.assertRaises(stripe.InvalidRequestError) as refused:
            self.api.refunds.create({"charge": part.charge, "amount": 1801})
        self.assertEqual("amount", refused.exception.param)
        self.assertEqual(1800, self.api.refunds.create({"charge": part.charge}).amount)
        charge = self.api.charges.retrieve(part.charge)
        self.assertEqual((3000, True), (charge.amount_refunded, charge.refunded))
        with self.assertRaises(stripe.InvalidRequestError) as refused:
            self.api.refunds.create({"payment_intent": intent.id})
        self.assertEqual("charge_already_refunded", refused.exception.code)
        self.assertEqual([1800, 1200], [r.amount for r in self.api.refunds.list({"charge": charge.id}).data])
        self.assertEqual("succeeded", self.api.refunds.retrieve(part.id).status)
        events = self.api.events.list({"type": "charge.refunded", "limit": 100}).data
        told = [e.data.object.amount_refunded for e in events if e.data.object.payment_intent == intent.id]
        self.assertEqual([3000, 1200], told)

    def test_paid_by_debit(self):
        session = self.buy(b"outcome=debit")
        self.assertEqual(("complete", "unpaid", "processing"), (session.status, session.payment_status, session.payment_intent.status))
        advance(3)
        self.assertEqual("paid", self.api.checkout.sessions.retrieve(session.id).payment_status)
        self.assertEqual("succeeded", self.api.payment_intents.retrieve(session.payment_intent.id).status)

    def test_disputed(self):
        session = self.buy(b"outcome=disputed")
        self.assertTrue(session.payment_intent.latest_charge.disputed)
        [dispute] = self.api.disputes.list({"payment_intent": session.payment_intent.id}).data
        self.assertEqual(("needs_response", 3000), (dispute.status, dispute.amount))
        won = self.api.disputes.update(dispute.id, {"evidence": {"uncategorized_text": "winning_evidence"}, "submit": True})
        self.assertEqual("won", won.status)
        self.assertEqual("won", self.api.disputes.retrieve(dispute.id).status)
        other = self.buy(b"outcome=disputed").payment_intent.id
        self.assertEqual("lost", self.api.disputes.close(self.api.disputes.list({"payment_intent": other}).data[0].id).status)


class Subscriptions(Bench):
    def test_life(self):
        customer, small, big = self.customer(), self.price(1000), self.price(3000)
        subscription = self.subscribe(customer, small, metadata={"a": "1"})
        self.assertEqual("active", subscription.status)
        item = subscription["items"].data[0]
        change = {
            "items": [{"id": item.id, "price": big.id, "quantity": 2}],
            "proration_behavior": "always_invoice",
            "payment_behavior": "error_if_incomplete",
        }
        preview = self.api.invoices.create_preview(
            {"subscription": subscription.id, "subscription_details": {"items": change["items"], "proration_behavior": "always_invoice"}}
        )
        subscription = self.api.subscriptions.update(subscription.id, {**change, "expand": ["latest_invoice"]})
        self.assertLessEqual(abs(preview.amount_due - subscription.latest_invoice.amount_paid), 1)
        self.assertEqual(big.id, subscription["items"].data[0].price.id)
        line = subscription.latest_invoice.lines.data[0]
        self.assertTrue(line.parent.subscription_item_details.proration)
        self.api.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
        back = self.api.subscriptions.update(subscription.id, {"cancel_at_period_end": False})
        self.assertIsNone(back.cancel_at)
        listed = self.api.subscriptions.list({"customer": customer.id, "status": "all", "expand": ["data.customer"]})
        self.assertEqual([customer.email], [s.customer.email for s in listed.data])
        self.assertEqual("canceled", self.api.subscriptions.cancel(subscription.id).status)

    def test_schedule(self):
        customer, big, small = self.customer(), self.price(3000), self.price(1000)
        subscription = self.subscribe(customer, big)
        schedule = self.api.subscription_schedules.create({"from_subscription": subscription.id})
        phase = schedule.phases[0]
        phases = [
            {"items": [{"price": big.id, "quantity": 1}], "start_date": phase.start_date, "end_date": phase.end_date},
            {"items": [{"price": small.id, "quantity": 1}], "duration": {"interval": "month", "interval_count": 1}},
        ]
        self.api.subscription_schedules.update(schedule.id, {"phases": phases, "end_behavior": "release", "proration_behavior": "none"})
        found = self.api.subscriptions.retrieve(subscription.id, {"expand": ["schedule"]})
        self.assertEqual(small.id, found.schedule.phases[1]["items"][0].price)
        self.assertIn(schedule.id, [s.id for s in self.api.subscription_schedules.list({"customer": customer.id}).data])
        advance(32)
        found = self.api.subscriptions.retrieve(subscription.id, {"expand": ["latest_invoice"]})
        self.assertEqual((small.id, 1000), (found["items"].data[0].price.id, found.latest_invoice.amount_paid))
        self.assertEqual("released", self.api.subscription_schedules.release(schedule.id).status)
        other = self.api.subscription_schedules.create({"from_subscription": subscription.id})
        self.assertEqual("canceled", self.api.subscription_schedules.cancel(other.id).status)

    def test_past_due_and_paid(self):
        customer, price = self.customer(), self.price()
        subscription = self.subscribe(customer, price)
        self.api.subscriptions.update(subscription.id, {"default_payment_method": "pm_card_chargeCustomerFail"})
        advance(32)
        found = self.api.subscriptions.retrieve(subscription.id)
        self.assertEqual("past_due", found.status)
        with self.assertRaises(stripe.CardError) as refused:
            self.api.invoices.pay(found.latest_invoice)
        self.assertEqual(("card_declined", 402), (refused.exception.code, refused.exception.http_status))
        self.assertEqual("generic_decline", refused.exception.error.decline_code)
        invoice = self.api.invoices.pay(found.latest_invoice, {"payment_method": "pm_card_visa"})
        self.assertEqual(("paid", subscription.id), (invoice.status, invoice.parent.subscription_details.subscription))
        self.assertEqual("active", self.api.subscriptions.retrieve(subscription.id).status)
        listed = self.api.invoices.list({"subscription": subscription.id, "status": "paid"}).data
        self.assertEqual(["subscription_cycle", "subscription_create"], [i.billing_reason for i in listed])

    def test_trial_pause_and_resume(self):
        customer, price = self.customer(card=None), self.price()
        settings = {"end_behavior": {"missing_payment_method": "pause"}}
        subscription = self.subscribe(customer, price, trial_period_days=7, trial_settings=settings)
        self.assertEqual("trialing", subscription.status)
        advance(8)
        self.assertEqual("paused", self.api.subscriptions.retrieve(subscription.id).status)
        self.api.customers.update(customer.id, {"invoice_settings": {"default_payment_method": "pm_card_visa"}})
        self.assertEqual("active", self.api.subscriptions.resume(subscription.id, {"billing_cycle_anchor": "now"}).status)
        paused = self.api.subscriptions.update(subscription.id, {"pause_collection": {"behavior": "void"}})
        self.assertEqual("void", paused.pause_collection.behavior)

    def test_void(self):
        subscription = self.subscribe(self.customer(), self.price(), payment_behavior="default_incomplete")
        self.assertEqual("incomplete", subscription.status)
        self.assertEqual("void", self.api.invoices.void_invoice(subscription.latest_invoice).status)

    def test_clocks(self):
        now = control("GET", "clock", {})["unix"]
        clock = self.api.test_helpers.test_clocks.create({"frozen_time": now})
        customer = self.customer(test_clock=clock.id)
        subscription = self.subscribe(customer, self.price())
        self.api.test_helpers.test_clocks.advance(clock.id, {"frozen_time": now + 32 * DAY})
        self.assertEqual("ready", self.api.test_helpers.test_clocks.retrieve(clock.id).status)
        found = self.api.subscriptions.retrieve(subscription.id, {"expand": ["latest_invoice"]})
        self.assertEqual("subscription_cycle", found.latest_invoice.billing_reason)
        self.assertTrue(self.api.test_helpers.test_clocks.delete(clock.id).deleted)


class Meters(Bench):
    def test_usage(self):
        name = f"tokens_{uuid.uuid4().hex}"
        meter = self.api.billing.meters.create(
            {"display_name": "Tokens", "event_name": name, "default_aggregation": {"formula": "sum"}}
        )
        customer = self.customer()
        event = {"event_name": name, "identifier": uuid.uuid4().hex, "payload": {"stripe_customer_id": customer.id, "value": "25"}}
        self.assertEqual(event["identifier"], self.api.billing.meter_events.create(event).identifier)
        with self.assertRaises(stripe.InvalidRequestError) as refused:
            self.api.billing.meter_events.create(event)
        self.assertIn("already exists with identifier", str(refused.exception))
        minute = control("GET", "clock", {})["unix"] // 60 * 60
        span = {"customer": customer.id, "start_time": minute - 60, "end_time": minute + 120}
        sums = self.api.billing.meters.event_summaries.list(meter.id, span).data
        self.assertEqual([25], [s.aggregated_value for s in sums])
        self.assertEqual("active", self.api.billing.meters.retrieve(meter.id).status)
        self.assertEqual("inactive", self.api.billing.meters.deactivate(meter.id).status)
        self.assertIn(meter.id, [m.id for m in self.api.billing.meters.list({"status": "inactive", "limit": 100}).data])


class Webhooks(Bench):
    def test_events_are_delivered_and_verified_by_the_sdk(self):
        receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Letters)
        receiver.letters = []
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{receiver.server_address[1]}/"
        endpoint = self.api.webhook_endpoints.create({"url": url, "enabled_events": ["customer.created", "customer.updated"]})
        self.assertIn(endpoint.id, [e.id for e in self.api.webhook_endpoints.list().data])
        customer = self.customer(card=None)
        self.api.customers.update(customer.id, {"name": "Ada"})
        until = time.time() + 10
        while len(receiver.letters) < 2 and time.time() < until:
            time.sleep(0.02)
        events = [client().construct_event(body, signature, endpoint.secret) for body, signature in receiver.letters]
        self.assertEqual(["customer.created", "customer.updated"], [e.type for e in events])
        self.assertEqual({"name": None}, events[1].data.previous_attributes.to_dict())
        self.assertEqual(stripe.api_version, events[0].api_version)
        body, signature = receiver.letters[0]
        for wrong_body, secret in [(body + b" ", endpoint.secret), (body, "whsec_other")]:
            with self.assertRaises(stripe.SignatureVerificationError):
                client().construct_event(wrong_body, signature, secret)
        fetched = self.api.events.retrieve(events[0].id)
        self.assertEqual((customer.id, 0), (fetched.data.object.id, fetched.pending_webhooks))
        since = {"types": ["customer.created"], "created": {"gte": events[0].created}, "limit": 100}
        self.assertIn(events[0].id, [e.id for e in self.api.events.list(since).data])
        updated = self.api.webhook_endpoints.update(endpoint.id, {"disabled": True})
        self.assertEqual("disabled", updated.status)
        self.assertTrue(self.api.webhook_endpoints.delete(endpoint.id).deleted)
        receiver.shutdown()


class Refusals(Bench):
    def test_kinds_of_errors(self):
        with self.assertRaises(stripe.CardError) as error:
            self.api.payment_methods.attach("pm_card_chargeDeclined", {"customer": self.customer(card=None).id})
        self.assertEqual("card_declined", error.exception.code)
        with self.assertRaises(stripe.InvalidRequestError) as error:
            self.api.customers.retrieve("cus_nobody")
        self.assertEqual(("resource_missing", "id", 404), (error.exception.code, error.exception.param, error.exception.http_status))
        with self.assertRaises(stripe.InvalidRequestError) as error:
            self.api.customers.create({"emial": "x"})
        self.assertEqual(("parameter_unknown", "emial"), (error.exception.code, error.exception.param))
        for key in ["sk_test_wrong", "sk_live_wrong"]:
            with self.assertRaises(stripe.AuthenticationError):
                client(key).v1.customers.list()

    def test_idempotency(self):
        options = {"idempotency_key": uuid.uuid4().hex}
        one = self.api.customers.create({"name": "a"}, options)
        two = self.api.customers.create({"name": "a"}, options)
        self.assertEqual(one.id, two.id)
        self.assertEqual("true", two.last_response.headers["idempotent-replayed"])
        self.assertTrue(two.last_response.request_id.startswith("req_"))
        with self.assertRaises(stripe.IdempotencyError):
            self.api.customers.create({"name": "b"}, options)


if __name__ == "__main__":
    unittest.main()

// The Next.js example in a real Chromium, against a real Anteroom, through the example's own rewrite.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { after, before, test } from "node:test";

import { chromium } from "playwright-core";

const { FRONTEND, CHROMIUM, SCREENSHOTS } = process.env;
const PASSWORD = "seven quiet rooms";
const EMAIL = "ada@example.com";
const LONG = "one two three four five six seven eight nine ten eleven twelve Grüße 👋🏽 end";

let browser;
/** What went wrong on the pages: uncaught exceptions, and what the content security policy stopped. */
const complaints = [];

/** A person of her own: a context shares no cookie with the others. */
async function visitor(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: "en-GB", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (line) => {
    if (/Content Security Policy|Hydration|Minified React/i.test(line.text())) complaints.push(line.text());
  });
  return page;
}

/** Waits until React has taken the page over: before that, a form would be sent without it. */
async function alive(page) {
  const taken = () => Object.keys(document.querySelector("main") ?? {}).some((key) => key.startsWith("__react"));
  await page.waitForFunction(taken, undefined, { polling: 100 });
}

async function go(page, path) {
  await page.goto(FRONTEND + path);
  await alive(page);
}

async function reload(page) {
  await page.reload();
  await alive(page);
}

async function signUp(page, email) {
  await go(page, "/sign-up");
  await page.getByLabel("Name").fill("Ada");
  await page.getByLabel("E-mail address").fill(email);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Sign up" }).click();
  await page.waitForURL("**/chat");
  await alive(page);
}

async function signIn(page, email, password) {
  await page.getByLabel("E-mail address").fill(email);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
}

const answers = (page) => page.locator("article.assistant");

async function say(page, text) {
  await page.getByLabel("Message", { exact: true }).fill(text);
  await page.getByLabel("Message", { exact: true }).press("Enter");
}

/** Until the button to send is there again. */
const done = (page) => page.getByRole("button", { name: "Send" }).waitFor();

before(async () => {
  // As root, and in containers, Chromium's sandbox does not start. Only this machine's own pages are opened.
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
});

after(async () => {
  await browser?.close();
});

test("a page for people who are signed in sends others to sign in, and back", async () => {
  const page = await visitor();
  await go(page, "/account");
  assert.equal(new URL(page.url()).pathname, "/sign-in");
  assert.equal(new URL(page.url()).searchParams.get("next"), "/account");
});

test("signing up shows what is wrong beside the field, then signs in by an HttpOnly cookie of this origin", async () => {
  const page = await visitor();
  await go(page, "/sign-up");
  await page.getByLabel("E-mail address").fill("not an address");
  await page.getByLabel("Password").fill("short");
  await page.getByRole("button", { name: "Sign up" }).click();
  await page.getByText("a password has at least 8 bytes").waitFor();
  for (const label of ["E-mail address", "Password"]) {
    const field = page.getByLabel(label);
    assert.equal(await field.getAttribute("aria-invalid"), "true");
    const notes = (await field.getAttribute("aria-describedby")).split(" ");
    assert.ok(await page.locator(`[id="${notes.at(-1)}"]`).textContent());
  }
  await page.waitForFunction(() => document.activeElement.getAttribute("name") === "email", undefined, { polling: 100 });

  await signUp(page, EMAIL);
  const [cookie, ...others] = await page.context().cookies();
  assert.equal(others.length, 0);
  assert.equal(cookie.name, "anteroom");
  assert.equal(cookie.domain, new URL(FRONTEND).hostname);
  assert.ok(cookie.httpOnly);
  assert.equal(cookie.sameSite, "Lax");
  assert.equal(await page.evaluate(() => document.cookie + JSON.stringify({ ...localStorage })), "{}");

  const other = await visitor();
  await go(other, "/sign-up");
  await other.getByLabel("E-mail address").fill(EMAIL);
  await other.getByLabel("Password").fill(PASSWORD);
  await other.getByRole("button", { name: "Sign up" }).click();
  await other.getByText("This address has an account already.").waitFor();
});

test("an answer comes word by word, a reload keeps it, stopping ends it, the quota is explained", async () => {
  const page = await visitor();
  await signUp(page, "grace@example.com");
  await say(page, LONG);
  // Lengths at which the answer was seen. Buffered on the way, it would be there at once.
  const lengths = new Set();
  const until = Date.now() + 30_000;
  while ((await page.getByRole("button", { name: "Stop" }).count()) > 0 && Date.now() < until) {
    lengths.add((await answers(page).last().textContent()).length);
    await page.waitForTimeout(40);
  }
  await done(page);
  assert.equal(await answers(page).last().textContent(), LONG);
  assert.ok(lengths.size >= 8, `seen in ${lengths.size} steps only`);

  await reload(page);
  await answers(page).first().waitFor();
  assert.equal(await answers(page).last().textContent(), LONG);

  await say(page, LONG);
  await page.getByText("one two three", { exact: false }).nth(2).waitFor();
  await answers(page).nth(1).getByText("three").waitFor();
  await page.getByRole("button", { name: "Stop" }).click();
  await answers(page).nth(1).getByText("Stopped.").waitFor();
  const stopped = (await answers(page).nth(1).textContent()).length;
  assert.ok(stopped < LONG.length);

  // At once: while the stopped answer is still being put away, this waits by itself.
  await say(page, "again");
  await answers(page).nth(2).getByText("again").waitFor();
  await done(page);
  await reload(page);
  await answers(page).nth(2).waitFor();
  assert.match(await answers(page).nth(1).textContent(), /Stopped\.$/);

  // The plan of these tests has 4 messages a day.
  await say(page, "four");
  await answers(page).nth(3).getByText("four").waitFor();
  await done(page);
  await say(page, "five");
  await page.getByText("You have used up your plan's messages. It begins anew").waitFor();
  assert.equal(await answers(page).count(), 4);
  assert.equal(await page.getByLabel("Message", { exact: true }).inputValue(), "five");
});

test("signing out ends the session everywhere, a wrong password is said, and the right one leads back", async () => {
  const email = "joan@example.com";
  const page = await visitor();
  await signUp(page, email);
  await page.context().clearCookies();
  await go(page, "/sign-in?next=/account");
  await signIn(page, email, "seven loud rooms");
  await page.getByText("The address or the password is wrong.").waitFor();
  assert.equal(new URL(page.url()).searchParams.get("next"), "/account");
  await signIn(page, email, PASSWORD);
  await page.waitForURL("**/account");
  await alive(page);

  await page.getByLabel("Name").fill("Ada Lovelace");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("Saved.").waitFor();
  await reload(page);
  await page.getByLabel("Name").waitFor();
  assert.equal(await page.getByLabel("Name").inputValue(), "Ada Lovelace");

  const tab = await page.context().newPage();
  await go(tab, "/chat");
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL("**/sign-in");
  assert.equal((await page.context().cookies()).length, 0);
  // The other tab learns of it at its next call.
  await say(tab, "still here?");
  await tab.waitForURL("**/sign-in?ended*");
  await tab.getByText("Your session has ended.").waitFor();
});

test("nobody is sent on to another site", async () => {
  const email = "mary@example.com";
  const page = await visitor();
  await signUp(page, email);
  await page.context().clearCookies();
  await go(page, "/sign-in?next=//evil.example/");
  await signIn(page, email, PASSWORD);
  await page.waitForURL("**/chat");
  assert.equal(new URL(page.url()).origin, FRONTEND);
});

test("a link of a mail takes its token out of the address, and acts on a click only", async () => {
  const page = await visitor();
  const calls = [];
  await page.route("**/api/anteroom/v1/auth/email/verify", (route) => {
    calls.push(route.request().postDataJSON());
    return route.fulfill({ status: 200, contentType: "application/json", body: "{}" });
  });
  await go(page, "/verify-email#token=abc123");
  const button = page.getByRole("button", { name: "Confirm the address" });
  await button.waitFor();
  assert.equal(page.url(), `${FRONTEND}/verify-email`);
  assert.deepEqual(calls, []);
  await button.click();
  await page.getByText("Your address is confirmed.").waitFor();
  assert.deepEqual(calls, [{ token: "abc123" }]);
  await go(page, "/reset-password");
  await page.getByText("This link is not whole.").waitFor();
});

test("an address that has to be confirmed first, and too many tries, are said", async () => {
  const page = await visitor();
  await page.route("**/api/anteroom/v1/auth/signup", (route) =>
    route.fulfill({ status: 202, contentType: "application/json", body: '{"status":"verify_email"}' }),
  );
  await go(page, "/sign-up");
  await page.getByLabel("E-mail address").fill("new@example.com");
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Sign up" }).click();
  await page.getByText("Look into your mail").waitFor();
  await page.route("**/api/anteroom/v1/auth/login", (route) =>
    route.fulfill({
      status: 429,
      headers: { "retry-after": "42" },
      contentType: "application/problem+json",
      body: '{"status":429,"code":"rate_limited","detail":"wait"}',
    }),
  );
  await go(page, "/sign-in");
  await signIn(page, EMAIL, PASSWORD);
  await page.getByText("Too many attempts. Try again in 42 seconds.").waitFor();
});

test("it is all reachable by keyboard", async () => {
  const page = await visitor();
  await go(page, "/sign-in");
  const reached = [];
  for (let presses = 0; presses < 6; presses++) {
    await page.keyboard.press("Tab");
    reached.push(await page.evaluate(() => document.activeElement.textContent || document.activeElement.name));
  }
  assert.deepEqual(reached.slice(0, 5), ["email", "password", "Sign in", "Sign up", "Forgotten your password?"]);
});

test("it fits on a small screen, in light and in dark", async () => {
  const small = { width: 360, height: 740 };
  const large = { width: 1280, height: 800 };
  const two = [["light", small], ["dark", large]];
  for (const [colorScheme, viewport] of SCREENSHOTS ? [...two, ["dark", small], ["light", large]] : two) {
    const page = await visitor({ colorScheme, viewport });
    const shots = async (name) => {
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(wide <= viewport.width, `${name} is ${wide} wide on ${viewport.width}`);
      if (!SCREENSHOTS) return;
      mkdirSync(SCREENSHOTS, { recursive: true });
      await page.screenshot({ path: `${SCREENSHOTS}/${name}-${viewport.width}-${colorScheme}.png` });
    };
    await go(page, "/sign-up");
    await page.getByLabel("E-mail address").fill("x");
    await page.getByRole("button", { name: "Sign up" }).click();
    await page.locator("[aria-invalid=true]").first().waitFor();
    await shots("sign-up");
    await go(page, "/sign-in");
    await shots("sign-in");
    await signUp(page, `${colorScheme}-${viewport.width}@example.com`);
    await say(page, `${LONG} ${"a-very-long-word-".repeat(8)}`);
    await answers(page).first().getByText("four").waitFor();
    await shots("chat-running");
    await done(page);
    await say(page, "And a short one.");
    await done(page);
    if (viewport.width < 700) {
      await page.getByRole("button", { name: "Conversations", exact: true }).click();
      await page.getByRole("button", { name: "New conversation" }).waitFor();
      await shots("chat-list");
      await page.getByRole("button", { name: "Conversations", exact: true }).click();
    }
    await shots("chat");
    await go(page, "/account");
    await page.getByLabel("Language").waitFor();
    await shots("account");
    await page.context().close();
  }
});

test("no page complained", () => {
  assert.deepEqual(complaints, []);
});

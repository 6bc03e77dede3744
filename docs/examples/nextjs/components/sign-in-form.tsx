"use client";

import Link from "next/link";
import { useState } from "react";

import { anteroom } from "@/lib/browser";

import { CheckMail } from "./check-mail";
import { Field, Form } from "./form";

export function SignInForm({ next, ended }: { next: string; ended: boolean }) {
  const [waiting, setWaiting] = useState<string>();
  if (waiting) return <CheckMail email={waiting} />;

  async function logIn({ email = "", password = "" }: Record<string, string>) {
    const answer = await anteroom.logIn(email.trim(), password);
    if (answer.status === "verify_email") return setWaiting(email.trim());
    // A second factor needs a page of its own, which this example does not have.
    if (answer.status !== "ok") throw new Error(`this example cannot go on from "${answer.status}"`);
    // A whole new page, so that nothing of whoever was here before is left in memory.
    location.assign(next);
  }

  return (
    <main className="card">
      <h1>Sign in</h1>
      {ended && <p role="status">Your session has ended. Please sign in again.</p>}
      <Form action="Sign in" onSend={logIn}>
        {(fault) => (
          <>
            <Field
              label="E-mail address"
              name="email"
              type="email"
              autoComplete="username"
              required
              fault={fault("email")}
            />
            <Field
              label="Password"
              name="password"
              type="password"
              autoComplete="current-password"
              required
              fault={fault("password")}
            />
          </>
        )}
      </Form>
      <p>
        New here? <Link href="/sign-up">Sign up</Link>
      </p>
      <p>
        <Link href="/forgot-password">Forgotten your password?</Link>
      </p>
    </main>
  );
}

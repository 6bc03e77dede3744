"use client";

import Link from "next/link";
import { useState } from "react";

import { anteroom } from "@/lib/browser";

import { CheckMail } from "./check-mail";
import { Field, Form } from "./form";

export function SignUpForm() {
  const [waiting, setWaiting] = useState<string>();
  if (waiting) return <CheckMail email={waiting} />;

  async function signUp({ email = "", password = "", name = "" }: Record<string, string>) {
    const answer = await anteroom.signUp(email.trim(), password, name.trim());
    // 202: nobody is signed in until the address is confirmed. The answer is the same for an address that is taken.
    if (answer.status === "verify_email") setWaiting(email.trim());
    else location.assign("/chat");
  }

  return (
    <main className="card">
      <h1>Sign up</h1>
      <Form action="Sign up" onSend={signUp}>
        {(fault) => (
          <>
            <Field label="Name (optional)" name="name" autoComplete="name" fault={fault("name")} />
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
              autoComplete="new-password"
              required
              hint="At least 8 characters. A few words that do not belong together are good."
              fault={fault("password")}
            />
          </>
        )}
      </Form>
      <p>
        Here before? <Link href="/sign-in">Sign in</Link>
      </p>
    </main>
  );
}

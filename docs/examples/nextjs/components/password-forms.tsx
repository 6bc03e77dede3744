"use client";

import Link from "next/link";
import { useState } from "react";

import { anteroom } from "@/lib/browser";

import { Field, Form } from "./form";
import { useFragmentToken } from "./use-fragment-token";

export function ForgotPasswordForm() {
  const [sent, setSent] = useState<string>();
  return (
    <main className="card">
      <h1>Forgotten password</h1>
      {sent ? (
        <p role="status">
          If <strong>{sent}</strong> has an account, a mail with a link is on its way.
        </p>
      ) : (
        <Form
          action="Send a link"
          onSend={async ({ email = "" }) => {
            await anteroom.forgotPassword(email.trim());
            setSent(email.trim());
          }}
        >
          {(fault) => (
            <Field
              label="E-mail address"
              name="email"
              type="email"
              autoComplete="username"
              required
              fault={fault("email")}
            />
          )}
        </Form>
      )}
      <p>
        <Link href="/sign-in">Back to sign in</Link>
      </p>
    </main>
  );
}

export function ResetPasswordForm() {
  const token = useFragmentToken();
  const [done, setDone] = useState(false);
  return (
    <main className="card">
      <h1>New password</h1>
      {done && <p role="status">Your password is changed, and every session has ended. Sign in with the new one.</p>}
      {!done && token === "" && (
        <p role="alert">
          This link is not whole. Open it from the mail again, or <Link href="/forgot-password">ask for a new one</Link>.
        </p>
      )}
      {!done && token && (
        <Form
          action="Change the password"
          onSend={async ({ password = "" }) => {
            await anteroom.resetPassword(token, password);
            setDone(true);
          }}
        >
          {(fault) => (
            <Field
              label="New password"
              name="password"
              type="password"
              autoComplete="new-password"
              required
              hint="At least 8 characters. A few words that do not belong together are good."
              fault={fault("password")}
            />
          )}
        </Form>
      )}
      <p>
        <Link href="/sign-in">Sign in</Link>
      </p>
    </main>
  );
}

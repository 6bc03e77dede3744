"use client";

import Link from "next/link";
import { useState } from "react";

import { anteroom } from "@/lib/browser";

import { Form } from "./form";

/** What comes after `verify_email`. */
export function CheckMail({ email }: { email: string }) {
  const [sent, setSent] = useState(false);
  return (
    <main className="card">
      <h1>Look into your mail</h1>
      <p role="status">
        We have written to <strong>{email}</strong>. Open the link in that mail, then sign in.
      </p>
      {sent ? (
        <p role="status">Sent again.</p>
      ) : (
        <Form
          action="Send it again"
          onSend={async () => {
            await anteroom.resendVerification(email);
            setSent(true);
          }}
        >
          {() => null}
        </Form>
      )}
      <p>
        <Link href="/sign-in">Sign in</Link>
      </p>
    </main>
  );
}

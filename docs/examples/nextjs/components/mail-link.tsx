"use client";

import Link from "next/link";
import { useState } from "react";

import type { LinkPage } from "@/lib/anteroom";
import { anteroom } from "@/lib/browser";

import { Form } from "./form";
import { useFragmentToken } from "./use-fragment-token";

interface Props {
  page: LinkPage;
  title: string;
  before: string;
  action: string;
  done: string;
}

/** Where a link in a mail leads. It acts on a click only: programs that look into mails open links as well. */
export function MailLink({ page, title, before, action, done }: Props) {
  const token = useFragmentToken();
  const [used, setUsed] = useState(false);
  return (
    <main className="card">
      <h1>{title}</h1>
      {used && <p role="status">{done}</p>}
      {!used && token === "" && (
        <p role="alert">This link is not whole. Open it from the mail again, or copy all of it.</p>
      )}
      {!used && token && (
        <>
          <p>{before}</p>
          <Form
            action={action}
            onSend={async () => {
              await anteroom.useLink(page, token);
              setUsed(true);
            }}
          >
            {() => null}
          </Form>
        </>
      )}
      <p>
        <Link href="/sign-in">Sign in</Link> · <Link href="/forgot-password">New password</Link>
      </p>
    </main>
  );
}

"use client";

import Link from "next/link";
import { useCallback, useEffect, useState } from "react";

import { AnteroomError, type Entitlement, type Session, type User } from "@/lib/anteroom";
import { anteroom } from "@/lib/browser";
import { explain } from "@/lib/words";

import { Field, Form } from "./form";
import { leaveIfSignedOut } from "./signed-out";

export function Account() {
  const [user, setUser] = useState<User>();
  const [messages, setMessages] = useState<Entitlement>();
  const [error, setError] = useState<unknown>();
  const [saved, setSaved] = useState(false);

  useEffect(() => {
    Promise.all([anteroom.me(), anteroom.entitlements()])
      .then(([me, entitlements]) => {
        setUser(me);
        setMessages(entitlements.find((entitlement) => entitlement.key === "messages"));
      })
      .catch((thrown: unknown) => leaveIfSignedOut(thrown) || setError(thrown));
  }, []);

  async function signOut() {
    try {
      await anteroom.logOut();
      location.assign("/sign-in");
    } catch (thrown) {
      setError(thrown);
    }
  }

  return (
    <main className="card wide">
      <header className="bar">
        <h1>Account</h1>
        <Link href="/chat">Chat</Link>
      </header>
      <div role="alert">{error !== undefined && <p className="fault banner">{explain(error)}</p>}</div>
      {user && (
        <>
          <p>
            Signed in as <strong>{user.email}</strong>
            {messages?.limit != null && `. ${messages.used ?? 0} of ${messages.limit} messages used today.`}
          </p>
          <Form
            action="Save"
            onSend={async ({ name = "", locale = "" }) => {
              setSaved(false);
              try {
                setUser(await anteroom.changeMe({ name: name.trim() || null, locale: locale.trim() }));
                setSaved(true);
              } catch (thrown) {
                if (!leaveIfSignedOut(thrown)) throw thrown;
              }
            }}
          >
            {(fault) => (
              <>
                <Field
                  label="Name"
                  name="name"
                  autoComplete="name"
                  defaultValue={user.name ?? ""}
                  fault={fault("name")}
                />
                <Field
                  label="Language"
                  name="locale"
                  defaultValue={user.locale}
                  hint="A language tag, such as en or de. Mails are in it."
                  fault={fault("locale")}
                />
              </>
            )}
          </Form>
          <p role="status">{saved && "Saved."}</p>
          <Sessions />
          <button type="button" className="quiet" onClick={signOut}>
            Sign out
          </button>
        </>
      )}
      {!user && error === undefined && <p role="status">One moment …</p>}
    </main>
  );
}

/** Where one is signed in. Not there, where the server has no such list. */
function Sessions() {
  const [sessions, setSessions] = useState<Session[]>();
  const [error, setError] = useState<unknown>();

  const load = useCallback(async () => {
    try {
      setSessions((await anteroom.sessions()).data);
    } catch (thrown) {
      const missing = thrown instanceof AnteroomError && thrown.code === "no_such_route";
      if (!missing && !leaveIfSignedOut(thrown)) setError(thrown);
    }
  }, []);

  useEffect(() => void load(), [load]);

  async function end(work: Promise<unknown>) {
    setError(undefined);
    try {
      await work;
      await load();
    } catch (thrown) {
      if (!leaveIfSignedOut(thrown)) setError(thrown);
    }
  }

  if (!sessions && error === undefined) return null;
  return (
    <section aria-labelledby="sessions">
      <h2 id="sessions">Where you are signed in</h2>
      <div role="alert">{error !== undefined && <p className="fault banner">{explain(error)}</p>}</div>
      <ul className="rows">
        {sessions?.map((session) => (
          <li key={session.id}>
            <span>
              <strong>{session.device ?? session.user_agent ?? "Unknown device"}</strong>
              <small>
                {session.address ?? "unknown address"}, since {new Date(session.created_at).toLocaleString()}
              </small>
            </span>
            {session.current ? (
              <em>this one</em>
            ) : (
              <button type="button" className="quiet" onClick={() => end(anteroom.endSession(session.id))}>
                End
              </button>
            )}
          </li>
        ))}
      </ul>
      {sessions && sessions.length > 1 && (
        <button type="button" className="quiet" onClick={() => end(anteroom.endOtherSessions())}>
          End all others
        </button>
      )}
    </section>
  );
}

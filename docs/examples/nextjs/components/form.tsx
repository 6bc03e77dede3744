"use client";

import { useEffect, useId, useRef, useState, type FormEvent, type InputHTMLAttributes, type ReactNode } from "react";

import { AnteroomError } from "@/lib/anteroom";
import { explain } from "@/lib/words";

type FieldProps = InputHTMLAttributes<HTMLInputElement> & { label: string; name: string; hint?: string; fault?: string };

/** An input with its label, its hint and what is wrong with it, tied together for screen readers. */
export function Field({ label, hint, fault, ...input }: FieldProps) {
  const id = useId();
  const notes = [hint && `${id}-hint`, fault && `${id}-fault`].filter(Boolean).join(" ");
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <input id={id} {...input} aria-invalid={fault ? true : undefined} aria-describedby={notes || undefined} />
      {hint && (
        <p className="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      {fault && (
        <p className="fault" id={`${id}-fault`}>
          {fault}
        </p>
      )}
    </div>
  );
}

interface FormProps {
  /** The button. */
  action: string;
  /** Does the work. What it throws is shown: a field's fault beside the field, the rest above the button. */
  onSend: (values: Record<string, string>) => Promise<void>;
  /** The fields, given what is wrong with each. */
  children: (fault: (name: string) => string | undefined) => ReactNode;
}

/** A form that sends once at a time, and leads to what is wrong. */
export function Form({ action, onSend, children }: FormProps) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const form = useRef<HTMLFormElement>(null);
  const refused = error instanceof AnteroomError ? error : undefined;

  // An effect runs when the faults have been drawn.
  useEffect(() => {
    if (error !== undefined) form.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus();
  }, [error]);

  async function send(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    if (busy) return;
    const values = Object.fromEntries(
      [...new FormData(event.currentTarget)].map(([name, value]) => [name, typeof value === "string" ? value : ""]),
    );
    setBusy(true);
    setError(undefined);
    try {
      await onSend(values);
    } catch (thrown) {
      setError(thrown);
    }
    setBusy(false);
  }

  const shown = new Set([...(form.current?.elements ?? [])].map((element) => (element as HTMLInputElement).name));
  const elsewhere = refused?.errors.filter((fault) => !shown.has(fault.pointer.slice(1))) ?? [];
  return (
    // Until the scripts are here, a form that is sent goes by POST: with GET the password would be in the address.
    <form ref={form} method="post" onSubmit={send} noValidate>
      {children((name) => refused?.field(name))}
      <div role="alert">
        {error !== undefined && <p className="fault banner">{explain(error)}</p>}
        {elsewhere.map((fault) => (
          <p className="fault" key={fault.pointer}>
            {fault.detail}
          </p>
        ))}
      </div>
      <button type="submit" aria-disabled={busy}>
        {busy ? "One moment …" : action}
      </button>
    </form>
  );
}

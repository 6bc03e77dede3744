"use client";

import Link from "next/link";
import { useCallback, useEffect, useRef, useState, type FormEvent, type KeyboardEvent } from "react";

import { AnteroomError, type AnswerEvent, type Conversation, type Message } from "@/lib/anteroom";
import { anteroom } from "@/lib/browser";
import { explain } from "@/lib/words";

import { leaveIfSignedOut } from "./signed-out";

/** Characters of the first message that become the conversation's title. */
const TITLE = 60;

const NOTES: Partial<Record<Message["status"], string>> = {
  partial: "The model broke off.",
  cancelled: "Stopped.",
  failed: "No answer came.",
};

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

let drafts = 0;

/** A message on the screen before the server has given it an id. */
function draft(role: Message["role"], content: string): Message {
  const status = role === "user" ? "complete" : "in_progress";
  return { id: `draft-${++drafts}`, role, content, status, created_at: new Date().toISOString() };
}

/** Changes the last message, which is the answer. */
const changed = (all: Message[], change: (message: Message) => Message) =>
  all.map((message, index) => (index === all.length - 1 ? change(message) : message));

export function Chat({ opened }: { opened: string | undefined }) {
  const [conversations, setConversations] = useState<Conversation[]>([]);
  const [more, setMore] = useState<string>();
  const [current, setCurrent] = useState(opened);
  const [messages, setMessages] = useState<Message[]>([]);
  const [error, setError] = useState<unknown>();
  const [running, setRunning] = useState<AbortController>();
  const [text, setText] = useState("");
  const [listed, setListed] = useState(false);
  const said = useRef<HTMLDivElement>(null);
  /** Whether the end is in sight, so that it is kept there; whoever scrolls up to read is left alone. */
  const atEnd = useRef(true);
  const input = useRef<HTMLTextAreaElement>(null);

  const fail = useCallback((thrown: unknown) => {
    if (!leaveIfSignedOut(thrown)) setError(thrown);
  }, []);

  const list = useCallback(
    async (cursor?: string) => {
      try {
        const page = await anteroom.conversations(cursor);
        setConversations((known) => (cursor ? [...known, ...page.data] : page.data));
        setMore(page.next_cursor);
      } catch (thrown) {
        fail(thrown);
      }
    },
    [fail],
  );

  const answer = useCallback(
    (change: (message: Message) => Message) => setMessages((all) => changed(all, change)),
    [],
  );

  const show = useCallback(
    (event: AnswerEvent) => {
      if (event.type === "delta") answer((message) => ({ ...message, content: message.content + event.text }));
      else answer(() => event.message);
    },
    [answer],
  );

  const load = useCallback(
    async (id: string) => {
      const control = new AbortController();
      try {
        const all = await anteroom.messages(id);
        setMessages(all);
        const last = all.at(-1);
        if (last?.status !== "in_progress") return;
        // An answer goes on at the server for a while when its page is gone: this one takes it up.
        setRunning(control);
        for await (const event of anteroom.follow(id, last.id, control.signal)) show(event);
      } catch (thrown) {
        if (control.signal.aborted) return;
        answer((message) => (message.status === "in_progress" ? { ...message, status: "partial" } : message));
        fail(thrown);
      } finally {
        setRunning((current) => (current === control ? undefined : current));
      }
    },
    [answer, fail, show],
  );

  useEffect(() => {
    void list();
    if (opened) void load(opened);
  }, [list, load, opened]);

  useEffect(() => {
    if (said.current && atEnd.current) said.current.scrollTop = said.current.scrollHeight;
  }, [messages]);

  function open(id: string | undefined) {
    running?.abort();
    setCurrent(id);
    setMessages([]);
    setError(undefined);
    setListed(false);
    atEnd.current = true;
    history.replaceState(null, "", id ? `/chat?c=${id}` : "/chat");
    if (id) void load(id);
    input.current?.focus();
  }

  async function say(content: string, control: AbortController) {
    let id = current;
    if (!id) {
      const made = await anteroom.createConversation(content.slice(0, TITLE));
      id = made.id;
      setCurrent(id);
      setConversations((known) => [made, ...known]);
      history.replaceState(null, "", `/chat?c=${id}`);
    }
    for (let tries = 0; ; tries++) {
      try {
        for await (const event of anteroom.say(id, content, control.signal)) show(event);
        return;
      } catch (thrown) {
        // The answer that was just left, or stopped, is still under way or being put away.
        const busy = thrown instanceof AnteroomError && thrown.code === "conversation_busy";
        if (!busy || tries === 3) throw thrown;
        await pause((thrown.retryAfter ?? 1) * 1000);
      }
    }
  }

  /** Ends the answer; what came of it then comes as its last event. */
  async function stop() {
    try {
      if (current) await anteroom.stop(current);
      else running?.abort();
    } catch (thrown) {
      running?.abort();
      fail(thrown);
    }
  }

  async function send() {
    const content = text.trim();
    if (!content || running) return;
    const control = new AbortController();
    setRunning(control);
    setError(undefined);
    setText("");
    atEnd.current = true;
    setMessages((all) => [...all, draft("user", content), draft("assistant", "")]);
    try {
      await say(content, control);
    } catch (thrown) {
      if (control.signal.aborted) {
        answer((message) => ({ ...message, status: "cancelled" }));
      } else if (thrown instanceof AnteroomError && thrown.status >= 400) {
        // It was refused as a whole, so nothing of it is stored: take it back and give the text back.
        setMessages((all) => all.slice(0, -2));
        setText(content);
        fail(thrown);
      } else {
        answer((message) => ({ ...message, status: message.content ? "partial" : "failed" }));
        fail(thrown);
      }
    }
    setRunning(undefined);
    input.current?.focus();
  }

  function onKey(event: KeyboardEvent) {
    // Enter sends, Shift and Enter begins a line; Enter that chooses a word of an input method does neither.
    if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    void send();
  }

  function onSubmit(event: FormEvent) {
    event.preventDefault();
    void send();
  }

  return (
    <div className="chat">
      <header className="bar">
        <button
          type="button"
          className="quiet narrow-only"
          aria-expanded={listed}
          aria-controls="conversations"
          onClick={() => setListed(!listed)}
        >
          Conversations
        </button>
        <h1>Chat</h1>
        <Link href="/account">Account</Link>
      </header>
      <nav id="conversations" aria-label="Conversations" className={listed ? "listed" : ""}>
        <button type="button" onClick={() => open(undefined)}>
          New conversation
        </button>
        <ul>
          {conversations.map((conversation) => (
            <li key={conversation.id}>
              <button
                type="button"
                className="quiet"
                aria-current={conversation.id === current ? "true" : undefined}
                onClick={() => open(conversation.id)}
              >
                {conversation.title ?? "Untitled"}
              </button>
            </li>
          ))}
        </ul>
        {more && (
          <button type="button" className="quiet" onClick={() => list(more)}>
            Older ones
          </button>
        )}
      </nav>
      <main>
        {/* Busy while an answer comes, so that it is read out once, whole. */}
        <div
          className="said"
          ref={said}
          role="log"
          aria-label="Messages"
          aria-busy={running !== undefined}
          tabIndex={0}
          onScroll={({ currentTarget: box }) => {
            atEnd.current = box.scrollHeight - box.scrollTop - box.clientHeight < 80;
          }}
        >
          {messages.length === 0 && <p className="hint">Say something to begin.</p>}
          {messages.map((message) => (
            <article key={message.id} className={message.role} aria-label={message.role === "user" ? "You" : "Answer"}>
              {message.content || (message.status === "in_progress" && <span aria-label="Thinking">…</span>)}
              {NOTES[message.status] && <small>{NOTES[message.status]}</small>}
            </article>
          ))}
        </div>
        <div role="alert">{error !== undefined && <p className="fault banner">{explain(error)}</p>}</div>
        <form className="say" method="post" onSubmit={onSubmit}>
          <label className="hidden" htmlFor="message">
            Message
          </label>
          <textarea
            id="message"
            ref={input}
            rows={2}
            value={text}
            placeholder="Write a message"
            onChange={(event) => setText(event.target.value)}
            onKeyDown={onKey}
          />
          {running ? (
            <button type="button" onClick={() => void stop()}>
              Stop
            </button>
          ) : (
            <button type="submit">Send</button>
          )}
        </form>
      </main>
    </div>
  );
}

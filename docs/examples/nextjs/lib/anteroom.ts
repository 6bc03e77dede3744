/** Anteroom's API, as far as this application uses it. The whole of it is in docs/openapi.json. */

import { readError, toError } from "./problem";
import { readEvents } from "./sse";
import type { Tokens, Transport } from "./transport";

export { AnteroomError, Unreachable } from "./problem";
export type { FieldError } from "./problem";

export interface User {
  id: string;
  email: string;
  email_verified: boolean;
  name: string | null;
  locale: string;
  role: "user" | "admin";
  created_at: string;
}

export interface Session {
  id: string;
  created_at: string;
  expires_at: string;
  last_seen_at: string;
  address: string | null;
  user_agent: string | null;
  /** What the session's device is called, where the server names it. */
  device?: string | null;
  current: boolean;
}

/** What signing up and logging in answer. Look at `status`: a session is there with `ok` only. */
export type LoginAnswer =
  | { status: "ok"; user: User; session: Session }
  | { status: "verify_email" }
  | { status: "mfa_required"; challenge_id: string; factors: unknown[] };

export interface Conversation {
  id: string;
  title: string | null;
  model: string | null;
  created_at: string;
  updated_at: string;
}

export interface Message {
  id: string;
  role: "user" | "assistant";
  content: string;
  /** `partial`: the model broke off. `cancelled`: somebody stopped it, or the session ended. */
  status: "in_progress" | "complete" | "partial" | "cancelled" | "failed";
  created_at: string;
}

export interface Entitlement {
  key: string;
  kind: "boolean" | "static" | "metered";
  value?: boolean | number;
  /** `null` is without limit. */
  limit?: number | null;
  used?: number;
  resets_at?: string;
}

/** What a streamed answer consists of. It ends with `completed` or `cancelled`, or throws. */
export type AnswerEvent =
  | { type: "started"; message: Message }
  | { type: "delta"; text: string }
  | { type: "completed" | "cancelled"; message: Message };

export interface Page<T> {
  data: T[];
  next_cursor?: string;
}

/** Routes that take the token of a link in a mail, by the page that the link opens. */
export const LINK_ROUTES = {
  "verify-email": "/v1/auth/email/verify",
  "confirm-email": "/v1/auth/email/verify",
  "undo-email-change": "/v1/auth/email/undo",
  "revoke-session": "/v1/auth/sessions/revoke",
} as const;

export type LinkPage = keyof typeof LINK_ROUTES;

export class Anteroom {
  constructor(private readonly transport: Transport) {}

  get kind(): Transport["kind"] {
    return this.transport.kind;
  }

  // ---- accounts ----

  signUp(email: string, password: string, name?: string): Promise<LoginAnswer> {
    return this.enter("/v1/auth/signup", { email, password, ...(name ? { name } : {}) });
  }

  logIn(email: string, password: string): Promise<LoginAnswer> {
    return this.enter("/v1/auth/login", { email, password });
  }

  /** Ends the session. A session that is over already is no error. */
  async logOut(): Promise<void> {
    const response = await this.transport.send("/v1/auth/logout", { method: "POST" });
    if (!response.ok && response.status !== 401) throw await readError(response);
    this.transport.forget();
  }

  me(): Promise<User> {
    return this.json("GET", "/v1/me");
  }

  changeMe(change: { name?: string | null; locale?: string }): Promise<User> {
    return this.json("PATCH", "/v1/me", change);
  }

  // ---- links in mails ----

  useLink(page: LinkPage, token: string): Promise<unknown> {
    return this.json("POST", LINK_ROUTES[page], { token });
  }

  resendVerification(email: string): Promise<unknown> {
    return this.json("POST", "/v1/auth/email/resend", { email });
  }

  /** Answers the same whether or not the address has an account. */
  forgotPassword(email: string): Promise<unknown> {
    return this.json("POST", "/v1/auth/password/forgot", { email });
  }

  /** Ends every session of the account. */
  resetPassword(token: string, password: string): Promise<unknown> {
    return this.json("POST", "/v1/auth/password/reset", { token, password });
  }

  // ---- sessions ----

  sessions(): Promise<Page<Session>> {
    return this.json("GET", "/v1/me/sessions");
  }

  endSession(id: string): Promise<unknown> {
    return this.json("DELETE", `/v1/me/sessions/${encodeURIComponent(id)}`);
  }

  endOtherSessions(): Promise<unknown> {
    return this.json("DELETE", "/v1/me/sessions");
  }

  // ---- chat ----

  conversations(cursor?: string): Promise<Page<Conversation>> {
    return this.json("GET", `/v1/conversations?limit=30${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
  }

  createConversation(title: string): Promise<Conversation> {
    return this.json("POST", "/v1/conversations", { title });
  }

  /** All that was said, oldest first. */
  async messages(conversation: string): Promise<Message[]> {
    const path = `/v1/conversations/${encodeURIComponent(conversation)}/messages?limit=100`;
    const all: Message[] = [];
    let cursor: string | undefined;
    do {
      const page: Page<Message> = await this.json("GET", cursor ? `${path}&cursor=${encodeURIComponent(cursor)}` : path);
      all.push(...page.data);
      cursor = page.next_cursor;
    } while (cursor);
    return all;
  }

  /**
   * Says something and gives the answer as it is made. Aborting `signal` only stops reading: the answer goes on for a
   * while, and can be taken up with `follow`. `stop` ends it.
   */
  async *say(conversation: string, content: string, signal: AbortSignal): AsyncGenerator<AnswerEvent> {
    const response = await this.transport.send(`/v1/conversations/${encodeURIComponent(conversation)}/messages`, {
      method: "POST",
      headers: { "content-type": "application/json", accept: "text/event-stream" },
      body: JSON.stringify({ content, stream: true }),
      signal,
    });
    yield* this.answer(response);
  }

  /** Takes up an answer from its beginning, and follows it to its end. */
  async *follow(conversation: string, message: string, signal: AbortSignal): AsyncGenerator<AnswerEvent> {
    const path = `/v1/conversations/${encodeURIComponent(conversation)}/messages/${encodeURIComponent(message)}/stream`;
    yield* this.answer(await this.transport.send(path, { headers: { accept: "text/event-stream" }, signal }));
  }

  /** Ends the answer that is under way, if one is; whoever reads it is told what came of it. */
  stop(conversation: string): Promise<unknown> {
    return this.json("POST", `/v1/conversations/${encodeURIComponent(conversation)}/stop`);
  }

  private async *answer(response: Response): AsyncGenerator<AnswerEvent> {
    if (!response.ok || !response.body) throw await readError(response);
    for await (const { event, data } of readEvents(response.body)) {
      const payload = JSON.parse(data) as { message: Message; text: string; problem: unknown };
      if (event === "message.started") yield { type: "started", message: payload.message };
      if (event === "message.delta") yield { type: "delta", text: payload.text };
      if (event === "message.completed" || event === "message.cancelled") {
        yield { type: event === "message.completed" ? "completed" : "cancelled", message: payload.message };
        return;
      }
      if (event === "error") throw toError(0, payload.problem);
    }
    throw toError(0, { code: "stream_cut", detail: "the connection was cut before the answer was whole" });
  }

  async entitlements(): Promise<Entitlement[]> {
    return (await this.json<Page<Entitlement>>("GET", "/v1/me/entitlements")).data;
  }

  // ---- how ----

  private async enter(path: string, body: Record<string, string>): Promise<LoginAnswer> {
    const answer = await this.json<LoginAnswer & Tokens>("POST", path, { ...body, transport: this.transport.kind });
    if (answer.status === "ok") this.transport.granted(answer);
    return answer;
  }

  private async json<T>(method: string, path: string, body?: unknown): Promise<T> {
    const init: RequestInit =
      body === undefined
        ? { method }
        : { method, headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
    const response = await this.transport.send(path, init);
    if (!response.ok) throw await readError(response);
    const said = await response.text();
    return (said === "" ? undefined : JSON.parse(said)) as T;
  }
}

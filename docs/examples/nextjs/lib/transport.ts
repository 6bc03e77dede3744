/**
 * What carries the session.
 *
 * - By cookie the browser speaks to this application's own origin, which passes the call on. The cookie is HttpOnly:
 *   no script can read it, and there is nothing to keep here.
 * - By token it speaks to Anteroom itself, on another origin. The access token is in this page's memory. The refresh
 *   token has to survive a reload, so it lies where a script of this origin can read it.
 */

import { readError, Unreachable } from "./problem";

export interface Tokens {
  access_token?: string;
  expires_in?: number;
  refresh_token?: string;
}

export interface Transport {
  readonly kind: "cookie" | "token";
  /** `path` begins with /v1. Rejects with `Unreachable` when nothing comes back. */
  send(path: string, init: RequestInit): Promise<Response>;
  /** Somebody has signed in. */
  granted(tokens: Tokens): void;
  /** The session is over. */
  forget(): void;
}

/** Sends, and tells "nobody there" from "you stopped it". */
async function reach(url: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(url, init);
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new Unreachable("the server cannot be reached", { cause: error });
  }
}

export function cookieTransport(base = "/api/anteroom"): Transport {
  return {
    kind: "cookie",
    send: (path, init) => reach(base + path, { ...init, credentials: "same-origin", cache: "no-store" }),
    granted: () => undefined,
    forget: () => undefined,
  };
}

/** Where the refresh token is kept between two pages. All tabs must share it. */
export interface RefreshStore {
  get(): string | null;
  set(token: string | null): void;
}

/** Runs one at a time among all tabs. */
export type Exclusive = <T>(work: () => Promise<T>) => Promise<T>;

/** Seconds before its end at which an access token is no longer used. */
const EARLY = 30;

export function tokenTransport(base: string, store: RefreshStore, exclusive: Exclusive): Transport {
  let access: { token: string; until: number } | undefined;

  const keep = (tokens: Tokens) => {
    if (!tokens.access_token || !tokens.refresh_token) return;
    access = { token: tokens.access_token, until: Date.now() + ((tokens.expires_in ?? 0) - EARLY) * 1000 };
    store.set(tokens.refresh_token);
  };

  const forget = () => {
    access = undefined;
    store.set(null);
  };

  const call = (path: string, init: RequestInit) => {
    const headers = new Headers(init.headers);
    if (access) headers.set("authorization", `Bearer ${access.token}`);
    return reach(base + path, { ...init, headers, credentials: "omit", cache: "no-store" });
  };

  // A refresh token is good for one exchange, so tabs take turns, and each reads the store when it is its turn. If the
  // answer is lost, the same token may be presented again within 10 s; later that ends the session.
  const refresh = (stale: string | undefined) =>
    exclusive(async () => {
      // Another call of this page has done it while this one waited.
      if (access && access.token !== stale && access.until > Date.now()) return;
      const token = store.get();
      if (!token) return;
      const response = await reach(`${base}/v1/auth/refresh`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ refresh_token: token }),
        credentials: "omit",
        cache: "no-store",
      });
      if (response.ok) return keep((await response.json()) as Tokens);
      const error = await readError(response);
      // 429 and 503 say nothing about the token: it stays for the next try.
      if (error.signedOut) forget();
      else throw error;
    });

  return {
    kind: "token",
    async send(path, init) {
      if (!access || access.until <= Date.now()) await refresh(access?.token);
      const used = access?.token;
      const response = await call(path, init);
      if (response.status !== 401 || !used || !store.get()) return response;
      // The token may have died early. What asks for a password answers 401 as well, so look before trying again.
      if (!(await readError(response.clone())).signedOut) return response;
      await refresh(used);
      return access ? call(path, init) : response;
    },
    granted: keep,
    forget,
  };
}

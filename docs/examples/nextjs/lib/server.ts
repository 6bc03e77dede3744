/** Who is asking, in server components. */

import { cookies } from "next/headers";
import { redirect } from "next/navigation";

import type { User } from "./anteroom";

/** The session cookie's names: on https, and on plain http. */
const NAMES = ["__Host-anteroom", "anteroom"];

/**
 * The user behind this request's cookie. The cookie is handed on to Anteroom, nothing else of the request is. With the
 * transport `token` nothing reaches this server, so the answer is `undefined`.
 */
export async function currentUser(): Promise<User | undefined> {
  const jar = await cookies();
  const cookie = NAMES.map((name) => jar.get(name)).find((found) => found !== undefined);
  // Without a cookie there is nothing to ask, and such calls would all count against this server's address.
  if (!cookie) return undefined;
  const base = process.env.ANTEROOM_URL || "http://127.0.0.1:7860";
  const response = await fetch(new URL("/v1/auth/session", base), {
    headers: { cookie: `${cookie.name}=${cookie.value}` },
    cache: "no-store",
    signal: AbortSignal.timeout(5000),
  });
  if (response.status === 401) return undefined;
  if (!response.ok) throw new Error(`Anteroom answered ${response.status} when asked for the session`);
  return ((await response.json()) as { user: User }).user;
}

/** Sends away whoever is not signed in. The API checks again by itself; this only spares people an empty page. */
export async function requireUser(page: string): Promise<void> {
  if (process.env.NEXT_PUBLIC_ANTEROOM_TRANSPORT === "token") return;
  if (!(await currentUser())) redirect(`/sign-in?next=${encodeURIComponent(page)}`);
}

"use client";

import { AnteroomError } from "@/lib/anteroom";

/** Goes to the sign-in page if `error` says that the session is over. Says whether it does. */
export function leaveIfSignedOut(error: unknown): boolean {
  if (!(error instanceof AnteroomError && error.signedOut)) return false;
  const here = location.pathname + location.search;
  location.assign(`/sign-in?ended&next=${encodeURIComponent(here)}`);
  return true;
}

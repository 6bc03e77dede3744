/** Errors in words for people. */

import { AnteroomError, Unreachable } from "./problem";

function wait(seconds: number | undefined): string {
  if (seconds === undefined) return "in a moment";
  if (seconds < 90) return `in ${seconds} second${seconds === 1 ? "" : "s"}`;
  if (seconds < 5400) return `in ${Math.ceil(seconds / 60)} minutes`;
  return `in ${Math.ceil(seconds / 3600)} hours`;
}

const time = (date: Date) => date.toLocaleString(undefined, { weekday: "short", hour: "2-digit", minute: "2-digit" });

const KNOWN: Record<string, string> = {
  invalid_credentials: "The address or the password is wrong.",
  email_taken: "This address has an account already. Sign in instead.",
  signup_closed: "No new accounts are taken here.",
  account_disabled: "This account is switched off. Ask whoever runs this service.",
  validation_failed: "Please correct what is marked.",
  subscription_inactive: "Your plan has ended.",
  model_not_in_plan: "Your plan does not include this model.",
  stream_cut: "The connection was cut. What came so far is kept.",
  origin_not_allowed: "Anteroom does not know this page's address. Its operator has to set FRONTEND_URL.",
  unauthenticated: "Your session has ended. Please sign in again.",
};

/** One sentence or two that say what happened and what to do. */
export function explain(error: unknown): string {
  if (error instanceof Unreachable) return "The server cannot be reached. Check your connection and try again.";
  if (!(error instanceof AnteroomError)) return "Something went wrong on this page. Reload it and try again.";
  if (error.code === "quota_exceeded") {
    const again = error.resetsAt ? ` It begins anew ${time(error.resetsAt)}.` : "";
    return `You have used up your plan's messages.${again}`;
  }
  if (error.status === 429) return `Too many attempts. Try again ${wait(error.retryAfter)}.`;
  if (error.status === 503) return `The service is busy. Try again ${wait(error.retryAfter)}.`;
  const known = KNOWN[error.code];
  if (known) return known;
  if (error.status >= 500 || error.status === 0) {
    const name = error.requestId ? ` If it stays so, tell us the number ${error.requestId}.` : "";
    return `The answer failed. Try again.${name}`;
  }
  return error.message.charAt(0).toUpperCase() + error.message.slice(1);
}

/** Runs before every page (Next called it middleware until 15): the Content-Security-Policy, with a nonce per page. */

import { NextResponse, type NextRequest } from "next/server";

/** With the transport `token` the browser also speaks to Anteroom itself. */
function connectable(): string {
  const url = process.env.NEXT_PUBLIC_ANTEROOM_URL;
  return process.env.NEXT_PUBLIC_ANTEROOM_TRANSPORT === "token" && url ? ` ${new URL(url).origin}` : "";
}

export function proxy(request: NextRequest): NextResponse {
  const nonce = btoa(crypto.randomUUID());
  const development = process.env.NODE_ENV === "development";
  const policy = [
    "default-src 'self'",
    `script-src 'self' 'nonce-${nonce}' 'strict-dynamic'${development ? " 'unsafe-eval'" : ""}`,
    // The overlay for errors in development styles itself inline.
    `style-src 'self' ${development ? "'unsafe-inline'" : `'nonce-${nonce}'`}`,
    "img-src 'self' data:",
    `connect-src 'self'${connectable()}${development ? " ws:" : ""}`,
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
  ].join("; ");

  // Next reads the nonce out of the request's own policy and puts it on its scripts.
  const headers = new Headers(request.headers);
  headers.set("content-security-policy", policy);
  const response = NextResponse.next({ request: { headers } });
  response.headers.set("content-security-policy", policy);
  response.headers.set("x-content-type-options", "nosniff");
  // Addresses of links in mails must not travel on. (The token is in the fragment, which never does.)
  response.headers.set("referrer-policy", "no-referrer");
  response.headers.set("permissions-policy", "camera=(), geolocation=(), microphone=()");
  return response;
}

export const config = {
  // Anteroom's answers have headers of their own, and files need none.
  matcher: "/((?!api/|_next/static|_next/image|favicon.ico|icon.svg).*)",
};

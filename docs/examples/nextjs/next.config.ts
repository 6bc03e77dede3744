import type { NextConfig } from "next";

// Next reports usage to its maker unless told not to.
process.env.NEXT_TELEMETRY_DISABLED ??= "1";

const local = "http://127.0.0.1:7860";

/** Where Anteroom is. Rewrites are made when the application is built, so a change takes a new build. */
function anteroom(): string {
  const url = process.env.ANTEROOM_URL;
  if (!url && process.env.VERCEL) {
    throw new Error("set ANTEROOM_URL in the project's environment variables, for example https://api.example.com");
  }
  return new URL(url || local).origin;
}

const config: NextConfig = {
  poweredByHeader: false,
  // Only the API. Anteroom's own pages (its reference, the checkout) stay on Anteroom's own origin.
  rewrites: async () => [{ source: "/api/anteroom/v1/:path*", destination: `${anteroom()}/v1/:path*` }],
  experimental: {
    // What `next dev` and `next start` wait for the next byte, 30 s without this. Conversations say something every 15 s,
    // but other streams are silent until the model's first word (60 s at most, `ai.first_token_timeout_ms`), and whole
    // answers until they are there. Vercel does not read it.
    proxyTimeout: 120_000,
  },
};

export default config;

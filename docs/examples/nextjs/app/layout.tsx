import type { Metadata, Viewport } from "next";
import type { ReactNode } from "react";

import "./globals.css";

export const metadata: Metadata = { title: { default: "Anteroom", template: "%s · Anteroom" } };

export const viewport: Viewport = { width: "device-width", initialScale: 1, colorScheme: "light dark" };

// A page that was made beforehand would have no nonce for its scripts; see proxy.ts.
export const dynamic = "force-dynamic";

export default function Layout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>{children}</body>
    </html>
  );
}

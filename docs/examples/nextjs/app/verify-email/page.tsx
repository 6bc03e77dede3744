import type { Metadata } from "next";

import { MailLink } from "@/components/mail-link";

export const metadata: Metadata = { title: "Confirm your address" };

export default function Page() {
  return (
    <MailLink
      page="verify-email"
      title="Confirm your address"
      before="One more step, and your address is confirmed."
      action="Confirm the address"
      done="Your address is confirmed. You can sign in now."
    />
  );
}

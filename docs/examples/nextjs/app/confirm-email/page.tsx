import type { Metadata } from "next";

import { MailLink } from "@/components/mail-link";

export const metadata: Metadata = { title: "Confirm your new address" };

export default function Page() {
  return (
    <MailLink
      page="confirm-email"
      title="Confirm your new address"
      before="From then on you sign in with your new address."
      action="Use the new address"
      done="Your new address is in use now."
    />
  );
}

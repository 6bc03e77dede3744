import type { Metadata } from "next";

import { MailLink } from "@/components/mail-link";

export const metadata: Metadata = { title: "Keep your old address" };

export default function Page() {
  return (
    <MailLink
      page="undo-email-change"
      title="Keep your old address"
      before="Somebody changed your account's address. If it was not you, take it back."
      action="Take the change back"
      done="Your old address is back. Choose a new password now."
    />
  );
}

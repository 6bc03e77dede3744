import type { Metadata } from "next";

import { MailLink } from "@/components/mail-link";

export const metadata: Metadata = { title: "End a session" };

export default function Page() {
  return (
    <MailLink
      page="revoke-session"
      title="End a session"
      before="If that sign-in was not you, end it."
      action="End that session"
      done="That session has ended. Choose a new password now."
    />
  );
}

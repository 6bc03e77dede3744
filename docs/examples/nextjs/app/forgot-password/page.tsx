import type { Metadata } from "next";

import { ForgotPasswordForm } from "@/components/password-forms";

export const metadata: Metadata = { title: "Forgotten password" };

export default function Page() {
  return <ForgotPasswordForm />;
}

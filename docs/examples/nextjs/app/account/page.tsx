import type { Metadata } from "next";

import { Account } from "@/components/account";
import { requireUser } from "@/lib/server";

export const metadata: Metadata = { title: "Account" };

export default async function Page() {
  await requireUser("/account");
  return <Account />;
}

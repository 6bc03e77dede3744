import { redirect } from "next/navigation";

import { currentUser } from "@/lib/server";

export default async function Home() {
  const byToken = process.env.NEXT_PUBLIC_ANTEROOM_TRANSPORT === "token";
  redirect(byToken || (await currentUser()) ? "/chat" : "/sign-in");
}

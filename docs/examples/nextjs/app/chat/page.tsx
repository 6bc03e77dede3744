import type { Metadata } from "next";

import { Chat } from "@/components/chat";
import { requireUser } from "@/lib/server";

export const metadata: Metadata = { title: "Chat" };

export default async function Page({ searchParams }: PageProps<"/chat">) {
  await requireUser("/chat");
  const { c } = await searchParams;
  return <Chat opened={typeof c === "string" ? c : undefined} />;
}

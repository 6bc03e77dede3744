import type { Metadata } from "next";

import { SignInForm } from "@/components/sign-in-form";
import { safeNext } from "@/lib/paths";

export const metadata: Metadata = { title: "Sign in" };

export default async function Page({ searchParams }: PageProps<"/sign-in">) {
  const { next, ended } = await searchParams;
  return <SignInForm next={safeNext(typeof next === "string" ? next : undefined)} ended={ended !== undefined} />;
}

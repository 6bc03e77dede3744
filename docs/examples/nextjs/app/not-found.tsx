import Link from "next/link";

export default function NotFound() {
  return (
    <main className="card">
      <h1>There is nothing here</h1>
      <p>
        <Link href="/chat">Go to the chat</Link>
      </p>
    </main>
  );
}

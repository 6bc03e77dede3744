"use client";

export default function Failed({ reset }: { error: Error; reset: () => void }) {
  return (
    <main className="card">
      <h1>This page failed</h1>
      <p role="alert">The service behind it may be away for a moment.</p>
      <button type="button" onClick={reset}>
        Try again
      </button>
    </main>
  );
}

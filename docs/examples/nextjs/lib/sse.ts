/** Server-sent events out of a response's body (WHATWG HTML, section 9.2). `EventSource` cannot send a POST. */

export interface ServerSentEvent {
  /** The event's name; `message` where the server gave none. */
  event: string;
  /** Its data, several lines joined by line feeds. */
  data: string;
}

/** Takes text in pieces cut anywhere, and gives the events that are complete. */
export class SseParser {
  private rest = "";
  private event = "";
  private data: string[] = [];

  push(text: string): ServerSentEvent[] {
    this.rest += text;
    const complete: ServerSentEvent[] = [];
    for (;;) {
      const end = this.rest.search(/[\r\n]/);
      // A CR at the very end may be half of a CRLF, so it waits for what comes next.
      if (end < 0 || (this.rest[end] === "\r" && end === this.rest.length - 1)) return complete;
      const line = this.rest.slice(0, end);
      this.rest = this.rest.slice(this.rest.startsWith("\r\n", end) ? end + 2 : end + 1);
      const event = this.line(line);
      if (event) complete.push(event);
    }
  }

  private line(line: string): ServerSentEvent | undefined {
    if (line === "") return this.dispatch();
    const colon = line.indexOf(":");
    // A line that begins with a colon is a comment, which proxies are kept awake with.
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.event = value;
    if (field === "data") this.data.push(value);
    return undefined;
  }

  private dispatch(): ServerSentEvent | undefined {
    const found = this.data.length > 0 ? { event: this.event || "message", data: this.data.join("\n") } : undefined;
    this.event = "";
    this.data = [];
    return found;
  }
}

/** The events of a body, as they come. Leaving the loop early ends the request. */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerSentEvent> {
  const parser = new SseParser();
  // Decodes across chunks: a chunk may end inside a character.
  const decoder = new TextDecoder();
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

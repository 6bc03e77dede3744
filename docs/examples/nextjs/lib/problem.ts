/** Errors of Anteroom: `application/problem+json` (RFC 9457) as an exception with types. */

export interface FieldError {
  /** JSON Pointer into the body that was sent, such as `/password`. */
  pointer: string;
  /** Stable code of the rule that failed. */
  code: string;
  /** What is wrong and what to do, for people. */
  detail: string;
}

/** What Anteroom refused. Tell errors apart by `code`, which is stable; `message` is for people. */
export class AnteroomError extends Error {
  override readonly name = "AnteroomError";

  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
    /** Names the request in Anteroom's log. */
    readonly requestId: string | undefined,
    /** Seconds after which trying again makes sense. */
    readonly retryAfter: number | undefined,
    /** The fields that were refused, on a 422. */
    readonly errors: readonly FieldError[],
    /** When a used-up limit begins anew, on a 402. */
    readonly resetsAt: Date | undefined,
  ) {
    super(detail);
  }

  /** The fault of one field of the form, by its name in the body. */
  field(name: string): string | undefined {
    return this.errors.find((error) => error.pointer === `/${name}`)?.detail;
  }

  /** Whether nobody is signed in any more. A wrong password is a 401 too, but another one. */
  get signedOut(): boolean {
    return this.code === "unauthenticated" || this.code === "invalid_refresh_token";
  }
}

/** Nothing came back: no network, or nobody listens there. */
export class Unreachable extends Error {
  override readonly name = "Unreachable";
}

type Members = Record<string, unknown>;

const members = (value: unknown): Members =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Members) : {};

const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

function fields(value: unknown): FieldError[] {
  if (!Array.isArray(value)) return [];
  return value.map(members).flatMap(({ pointer, code, detail }) =>
    typeof pointer === "string" ? [{ pointer, code: text(code) ?? "invalid", detail: text(detail) ?? "is refused" }] : [],
  );
}

/** `Retry-After` (RFC 9110, section 10.2.3) in seconds; Anteroom sends seconds, a proxy may send a date. */
export function readRetryAfter(header: string | null, now: number = Date.now()): number | undefined {
  if (!header) return undefined;
  if (/^\d+$/.test(header.trim())) return Number(header);
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, Math.ceil((date - now) / 1000));
}

/** An error out of a problem document. What is none, such as a proxy's own error page, becomes `unreadable_answer`. */
export function toError(status: number, body: unknown, retryAfter?: number): AnteroomError {
  const problem = members(body);
  const resetsAt = text(problem.resets_at);
  return new AnteroomError(
    status || (typeof problem.status === "number" ? problem.status : 0),
    text(problem.code) ?? "unreadable_answer",
    text(problem.detail) ?? `the server answered ${status} without an explanation`,
    text(problem.request_id),
    retryAfter,
    fields(problem.errors),
    resetsAt && !Number.isNaN(Date.parse(resetsAt)) ? new Date(resetsAt) : undefined,
  );
}

/** The error that a response with a status of 400 or more is. */
export async function readError(response: Response): Promise<AnteroomError> {
  const body: unknown = await response.json().catch(() => undefined);
  return toError(response.status, body, readRetryAfter(response.headers.get("retry-after")));
}

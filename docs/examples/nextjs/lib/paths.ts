/** A page of this application to go on to, out of an address that anybody may have written. */
export function safeNext(value: string | null | undefined, otherwise = "/chat"): string {
  // `//host` and `/\host` are other sites.
  return value && /^\/(?![/\\])/.test(value) && !/[\u0000-\u001f]/.test(value) ? value : otherwise;
}

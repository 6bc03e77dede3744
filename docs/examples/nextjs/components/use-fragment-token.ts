"use client";

import { useEffect, useState } from "react";

/**
 * The `token` of an address like `/verify-email#token=…`. A fragment is not sent to any server, so the token is in no
 * log. It is taken out of the address at once: the history, a bookmark and a screenshot keep nothing of it.
 *
 * `undefined` while it is not known yet, `""` if there is none.
 */
export function useFragmentToken(): string | undefined {
  const [token, setToken] = useState<string>();
  useEffect(() => {
    const read = () => {
      const found = new URLSearchParams(location.hash.slice(1)).get("token");
      if (found) history.replaceState(history.state, "", location.pathname + location.search);
      setToken((known) => found || known || "");
    };
    read();
    addEventListener("hashchange", read);
    return () => removeEventListener("hashchange", read);
  }, []);
  return token;
}

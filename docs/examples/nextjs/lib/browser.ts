/** The one client of this page. For client components only. */

import { Anteroom } from "./anteroom";
import { cookieTransport, tokenTransport, type Exclusive, type RefreshStore } from "./transport";

const KEY = "anteroom-refresh-token";

const store: RefreshStore = {
  get: () => localStorage.getItem(KEY),
  set: (token) => (token === null ? localStorage.removeItem(KEY) : localStorage.setItem(KEY, token)),
};

// The Web Locks API is shared by all tabs of an origin. It is there on https and on localhost.
const exclusive: Exclusive = async (work) => await navigator.locks.request(KEY, work);

function make(): Anteroom {
  if (process.env.NEXT_PUBLIC_ANTEROOM_TRANSPORT !== "token") return new Anteroom(cookieTransport());
  const url = process.env.NEXT_PUBLIC_ANTEROOM_URL;
  if (!url) throw new Error("the transport token needs NEXT_PUBLIC_ANTEROOM_URL");
  return new Anteroom(tokenTransport(new URL(url).origin, store, exclusive));
}

export const anteroom = make();

/** The one user, `default`, and its password. */

import { createHash, timingSafeEqual } from "node:crypto";

import type { Client, Host } from "./client.ts";

const DEFAULT_USER = "default";

/**
 * Authenticates a connection if user and password are right; without a password set, any password of the default user is.
 * @returns whether they were.
 */
export function authenticate(client: Client, host: Host, user: string, password: string): boolean {
  const wanted = host.settings.requirePass;
  const isRight = user === DEFAULT_USER && (wanted === "" || isSame(password, wanted));
  if (isRight) client.session.isAuthenticated = true;
  return isRight;
}

/** Takes the same time wherever the two differ. */
function isSame(given: string, wanted: string): boolean {
  return timingSafeEqual(digest(given), digest(wanted));
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text, "latin1").digest();
}

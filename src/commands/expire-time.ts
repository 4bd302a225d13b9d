/** From a time as clients give it to the one that is stored: absolute, in ms since 1970. */

import { EXPIRE_AT_MS_MAX } from "../data/keyspace.ts";
import type { Refusal } from "../data/reply.ts";
import { addIntegers, parseInteger, scaleInteger } from "./integer.ts";
import { invalidExpireTime, NOT_AN_INTEGER } from "./refusals.ts";

/** How a time is to be read. */
export interface TimeUnit {
  /** Milliseconds in one unit: 1 or 1000. */
  readonly ms: number;
  /** Whether it counts from now on, and not from 1970. */
  readonly isRelative: boolean;
}

export const SECONDS: TimeUnit = { ms: 1000, isRelative: true };
export const MILLISECONDS: TimeUnit = { ms: 1, isRelative: true };
export const UNIX_SECONDS: TimeUnit = { ms: 1000, isRelative: false };
export const UNIX_MILLISECONDS: TimeUnit = { ms: 1, isRelative: false };

/** The options of SET and GETEX that take a time. */
export const timeOptions: ReadonlyMap<string, TimeUnit> = new Map([
  ["EX", SECONDS],
  ["PX", MILLISECONDS],
  ["EXAT", UNIX_SECONDS],
  ["PXAT", UNIX_MILLISECONDS],
]);

/** Where and when a time is read. */
export interface TimeContext {
  readonly unit: TimeUnit;
  /** Name of the command, in lower case, for the error. */
  readonly command: string;
  /** Now, ms since 1970. */
  readonly wallMs: number;
}

/** @returns ms since 1970, at most `EXPIRE_AT_MS_MAX`, maybe in the past and even negative; or the error. */
export function parseExpireTime(
  text: string,
  { unit, command, wallMs }: TimeContext,
): number | Refusal {
  const amount = parseInteger(text);
  if (amount === undefined) return NOT_AN_INTEGER;
  const scaled = scaleInteger(amount, unit.ms);
  const atMs =
    scaled === undefined || !unit.isRelative ? scaled : addIntegers(scaled, Math.floor(wallMs));
  if (atMs === undefined) return invalidExpireTime(command);
  return Math.min(Number(atMs), EXPIRE_AT_MS_MAX);
}

/** As `parseExpireTime`, for the commands that take no time of zero or below. */
export function parsePositiveExpireTime(text: string, context: TimeContext): number | Refusal {
  const amount = parseInteger(text);
  if (amount !== undefined && amount <= 0) return invalidExpireTime(context.command);
  return parseExpireTime(text, context);
}

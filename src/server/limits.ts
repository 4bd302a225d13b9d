/** The bounds of the RESP side. */

/** Bytes that the unanswered requests of one connection may bring, going by the size of its latest replies. */
export const IN_FLIGHT_BYTES_MAX = 64 * 1024 * 1024;
/** How large replies are taken to be before there was one, in bytes: a new connection begins with few in flight. */
export const FIRST_REPLY_BYTES = 1024 * 1024;
/** Requests of one connection that may be unanswered or unsent; past it nothing more is read from it. */
export const IN_FLIGHT_MAX = 1024;
/** Reading goes on once a connection that was stopped has no more unanswered than this. */
export const IN_FLIGHT_RESUME = 512;
/** Replies in bytes that the socket has not taken, past which they wait unencoded and no further request is looked at. */
export const OUTPUT_SOFT_BYTES = 1024 * 1024;
/** Replies of all connections in bytes that wait for the end of a turn, past which they are sent at once. */
export const DRAFT_BYTES_MAX = 64 * 1024;
/** Replies in bytes that wait for a client that does not read, past which the next disconnects it; one may be larger. */
export const OUTPUT_HARD_BYTES_MAX = 256 * 1024 * 1024;
/** Connections; the default of `maxclients`. */
export const CLIENTS_MAX = 10_000;
/** Commands that MULTI queues. */
export const TRANSACTION_COMMANDS_MAX = 100_000;
/** Argument bytes that MULTI queues. */
export const TRANSACTION_BYTES_MAX = 256 * 1024 * 1024;
/** Keys that one connection watches. */
export const WATCHED_KEYS_MAX = 100_000;
/** Longest name that a client gives itself or its library, in bytes. */
export const CLIENT_NAME_BYTES_MAX = 1024;
/** Time that pending answers get when the server closes, ms. */
export const CLOSE_GRACE_MS = 5000;
/** Memory that what several reads brought shares; a request that is in flight keeps all of it. */
export const PAGE_BYTES = 64 * 1024;
/** How often idle connections are looked for, ms. */
export const IDLE_SWEEP_MS = 1000;
/** Silence after which the system probes whether the other end still lives, ms. */
export const KEEP_ALIVE_MS = 300_000;
/** Time that a client gets to close its side after the last reply, ms. */
export const LINGER_MS = 1000;
/** Time of one turn of the event loop in which requests are taken, ms: far below the time between two heartbeats. */
export const TURN_MS_MAX = 10;
/** Quick requests between two looks at the clock; after any other it is looked at. */
export const REQUESTS_PER_LOOK = 16;
/** Unanswered requests of all connections together at which no more are read, and those at which reading goes on. */
export const UNANSWERED_MAX = 8192;
export const UNANSWERED_RESUME = 6144;

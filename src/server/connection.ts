/**
 * One client's connection: bytes in, requests in order, replies out in the order of the requests however the operations
 * finish. It reads no more than it can answer, and encodes no more than the socket takes.
 *
 *     open ──QUIT, protocol error, server closes──▶ closing (answers go out) ──▶ closed
 *       └──the client ends its side: what it sent is still answered ──▶ closing
 */

import type { Socket } from "node:net";

import { unknownCommand, wrongArity } from "../commands/refusals.ts";
import { arityMatches } from "../commands/table.ts";
import { Bytes } from "../data/bytes.ts";
import type { Command } from "../data/command.ts";
import { Refusal, type Reply } from "../data/reply.ts";
import { assert } from "../kit/assert.ts";
import { ProtocolError } from "../resp/protocol-error.ts";
import { RequestParser } from "../resp/request-parser.ts";
import type { Door } from "../router/door.ts";
import type { ReplySink } from "../router/router.ts";
import type { Route } from "../router/routes.ts";
import { readInto } from "../sockets/accepted-socket.ts";
import type { ReadBuffer } from "../sockets/read-buffer.ts";
import type { Args, Client, Host, ServerCommand, Session } from "./client.ts";
import type { Intake, Waiter } from "./intake.ts";
import type { CommandTally, KnownCommands, KnownDataCommand } from "./known-commands.ts";
import {
  DRAFT_BYTES_MAX,
  FIRST_REPLY_BYTES,
  IN_FLIGHT_BYTES_MAX,
  IN_FLIGHT_MAX,
  IN_FLIGHT_RESUME,
  KEEP_ALIVE_MS,
  LINGER_MS,
  OUTPUT_HARD_BYTES_MAX,
  OUTPUT_SOFT_BYTES,
} from "./limits.ts";
import { Draft, type Outbox, type Sender } from "./outbox.ts";
import { err, NOT_AUTHENTICATED } from "./refusals.ts";
import { abort, queueServerCommand, queueShardCommand } from "./transaction-commands.ts";

/** What the server does for its connections. */
export interface ConnectionHost extends Host {
  readonly door: Door;
  readonly known: KnownCommands;
  readonly outbox: Outbox;
  readonly intake: Intake;
  /** One for all connections. */
  readonly readBuffer: ReadBuffer;
  /** Whether sockets read into it, where that can be; else into buffers of their own. */
  readonly readsIntoBuffer: boolean;
  connectionClosed(connection: Connection): void;
}

const UNKNOWN = "unknown";
/** What is left of the size of a large reply in the guess about the next, after each smaller one. */
const REPLY_BYTES_DECAY = 0.9;

/** A request's place in the order of replies. */
class ReplySlot implements ReplySink {
  next: ReplySlot | undefined = undefined;
  isSilent = false;
  protocol: 2 | 3;
  isAnswered = false;
  reply: Reply = null;
  /** Its weight from its answer until it is encoded. */
  waitingBytes = 0;
  readonly tally: CommandTally;
  /** When the bytes that it ended in were there, monotonic ms. */
  readonly startedMs: number;
  readonly #connection: Connection;

  constructor(connection: Connection, tally: CommandTally, startedMs: number, protocol: 2 | 3) {
    this.#connection = connection;
    this.tally = tally;
    this.startedMs = startedMs;
    this.protocol = protocol;
  }

  answered(reply: Reply): void {
    assert(!this.isAnswered, "a request is answered once");
    this.isAnswered = true;
    this.reply = reply;
    this.#connection.onAnswered(this);
  }
}

export class Connection implements Client, Waiter, Sender {
  readonly id: number;
  readonly session: Session;
  readonly #socket: Socket;
  readonly #host: ConnectionHost;
  readonly #parser = new RequestParser();
  readonly #address: string;
  readonly #localAddress: string;
  readonly #createdAtMs = Date.now();
  /** When the bytes were there that requests are taken from now, monotonic ms. */
  #burstMs = performance.now();
  /** The replies that are written and not sent. */
  readonly #draft: Draft;
  /** When the first read of this burst was answered at once, monotonic ms. */
  #readMs: number | undefined;
  #lastCommand = "NULL";
  #first: ReplySlot | undefined;
  #last: ReplySlot | undefined;
  #inFlight = 0;
  #waitingBytes = 0;
  /** How large the replies of those in flight may be. */
  #replyBytes = FIRST_REPLY_BYTES;
  #isHeld = false;
  /** There may be requests that could not be taken yet. */
  #isWaiting = false;
  #isClosing = false;
  #isClosed = false;
  #hasInputEnded = false;
  #isProcessing = false;
  #isReading = true;
  #isFlushPlanned = false;
  readonly #onSent = () => this.#onWritten();

  constructor(id: number, socket: Socket, host: ConnectionHost) {
    this.id = id;
    const { readBuffer } = host;
    const reading = host.readsIntoBuffer
      ? readInto(socket, readBuffer.target, (count) => {
          readBuffer.keep(count);
          this.#onBytes(readBuffer.page, readBuffer.start, readBuffer.end);
        })
      : undefined;
    this.#socket = reading ?? socket;
    this.#host = host;
    this.#draft = new Draft(host.outbox);
    const { remoteAddress, remotePort, localAddress, localPort } = this.#socket;
    this.#address = `${remoteAddress ?? "?"}:${remotePort ?? 0}`;
    this.#localAddress = `${localAddress ?? "?"}:${localPort ?? 0}`;
    this.session = newSession(host);
    this.#listen(reading === undefined);
  }

  #listen(takesData: boolean): void {
    const socket = this.#socket;
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    if (takesData) socket.on("data", (chunk: Buffer) => this.#onBytes(chunk, 0, chunk.length));
    socket.on("end", () => this.#onEnd());
    // What is wrong with a socket shows in its closing, which follows; nobody is there to be told.
    socket.on("error", () => undefined);
    socket.on("close", () => this.#onClose());
    socket.resume();
  }

  /** Time since the last request, ms; 0 while one is unanswered. */
  get idleMs(): number {
    return this.#inFlight > 0 ? 0 : performance.now() - this.#burstMs;
  }

  describe(): string {
    const { session } = this;
    const { thread } = this.#host.nodeWide;
    const queued = session.transaction?.commands.length ?? -1;
    const flags = session.transaction === undefined ? "N" : "x";
    return [
      `id=${this.id}`,
      `addr=${this.#address}`,
      `laddr=${this.#localAddress}`,
      `name=${session.name}`,
      `age=${Math.floor((Date.now() - this.#createdAtMs) / 1000)}`,
      `idle=${Math.floor(this.idleMs / 1000)}`,
      `flags=${flags}`,
      "db=0",
      "sub=0",
      "psub=0",
      "ssub=0",
      `multi=${queued}`,
      `watch=${session.watched.size}`,
      `oll=${this.#inFlight}`,
      `omem=${this.#socket.writableLength + this.#waitingBytes}`,
      `cmd=${this.#lastCommand}`,
      "user=default",
      "redir=-1",
      `resp=${session.protocol}`,
      `lib-name=${session.libraryName}`,
      `lib-ver=${session.libraryVersion}`,
      ...(thread === 0 ? [] : [`io-thread=${thread}`]),
    ].join(" ");
  }

  reset(): void {
    Object.assign(this.session, newSession(this.#host));
  }

  closeAfterReplies(): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    this.#planFlush();
  }

  hold(): void {
    this.#isHeld = true;
  }

  release(): void {
    this.#isHeld = false;
    this.#process();
  }

  goOn(): void {
    this.#isWaiting = false;
    this.#process();
    this.#maybeEnd();
  }

  /** Closes at once, whatever is unanswered. */
  destroy(): void {
    this.#socket.destroy();
  }

  onAnswered(slot: ReplySlot): void {
    const { intake, outbox, counters } = this.#host;
    intake.answered();
    const isRefusal = slot.reply instanceof Refusal;
    if (isRefusal) counters.refusals += 1;
    slot.tally.answered(isRefusal, outbox.nowMs - slot.startedMs);
    if (this.#isClosed) return;
    this.#onWaiting(slot);
    this.#planFlush();
  }

  #onBytes(chunk: Buffer, start: number, end: number): void {
    if (this.#isClosing) return;
    this.#host.counters.inputBytes += end - start;
    this.#parser.push(chunk, start, end);
    this.#process();
  }

  #onEnd(): void {
    this.#hasInputEnded = true;
    this.#process();
    this.#planFlush();
  }

  #onClose(): void {
    this.#isClosed = true;
    this.#isClosing = true;
    this.#first = undefined;
    this.#last = undefined;
    this.#waitingBytes = 0;
    this.#host.intake.leave(this);
    this.#host.connectionClosed(this);
  }

  get #mayTakeRequest(): boolean {
    return (
      !this.#isHeld &&
      !this.#isClosing &&
      this.#inFlight < IN_FLIGHT_MAX &&
      this.#inFlight * this.#replyBytes < IN_FLIGHT_BYTES_MAX &&
      this.#waitingBytes + this.#socket.writableLength < OUTPUT_SOFT_BYTES
    );
  }

  /** Takes requests as long as it and the server may; stops reading from the socket when it has bytes that it may not use yet. */
  #process(): void {
    if (this.#isProcessing || this.#isWaiting) return;
    this.#isProcessing = true;
    if (this.#parser.hasBytesLeft) this.#takeRequests();
    this.#isProcessing = false;
    if (this.#isClosed || this.#isClosing) return;
    const reads = this.#mayTakeRequest && !this.#isWaiting;
    // Even to go on as it is takes a socket some time.
    if (reads === this.#isReading) return;
    this.#isReading = reads;
    if (reads) this.#socket.resume();
    else this.#socket.pause();
  }

  #takeRequests(): void {
    const { door, intake, outbox } = this.#host;
    const parser = this.#parser;
    this.#draft.begin();
    // Whatever can be taken now has arrived already.
    door.beginBurst();
    this.#burstMs = intake.look();
    this.#readMs = undefined;
    while (this.#mayTakeRequest) {
      if (!intake.isOpen) {
        this.#isWaiting = true;
        intake.wait(this);
        break;
      }
      parser.isRestricted = !this.session.isAuthenticated;
      parser.bulkBytesMax = this.#host.settings.bulkBytesMax;
      const next = parser.next();
      if (next === undefined) break;
      if (next instanceof ProtocolError) this.#onProtocolError(next);
      else this.#onRequest(next);
    }
    door.endBurst();
    if (this.#draft.length === 0) return;
    if (outbox.writer.length > DRAFT_BYTES_MAX) this.#send();
    else this.#planFlush("turn-end");
  }

  #onProtocolError(error: ProtocolError): void {
    this.#host.counters.protocolErrors += 1;
    this.#append(this.#host.known.unknown, false).answered(err(error.message));
    this.closeAfterReplies();
  }

  #append(tally: CommandTally, isQuick: boolean): ReplySlot {
    const slot = new ReplySlot(this, tally, this.#burstMs, this.session.protocol);
    if (this.#last === undefined) this.#first = slot;
    else this.#last.next = slot;
    this.#last = slot;
    this.#inFlight += 1;
    this.#host.intake.taken(isQuick);
    return slot;
  }

  #onRequest(request: Command): void {
    const { session } = this;
    const { counters, known } = this.#host;
    counters.commands += 1;
    const command = known.find(request);
    if (command?.kind === "data" && this.#readsAtOnce(command, request)) return;
    const slot = this.#append(command?.tally ?? known.unknown, command?.isQuick ?? false);
    const isSkipped = session.replies === "skip-next";
    if (isSkipped) session.replies = "on";
    this.#lastCommand = command?.name ?? UNKNOWN;
    if (command === undefined) slot.answered(this.#refuse(unknownCommand(request)));
    else if (command.kind === "data") this.#onShardCommand(command.route, request, slot);
    else this.#onServerCommand(command.command, request.texts(), slot);
    slot.isSilent = isSkipped || session.replies !== "on";
  }

  /** Reads, and writes the reply, where nothing stands in the way and no earlier reply is still to come. */
  #readsAtOnce({ route, name, tally, isQuick }: KnownDataCommand, request: Command): boolean {
    const { session } = this;
    const isPlain = this.#first === undefined && session.replies === "on";
    if (!isPlain || route.isWrite || !route.hasOneKey) return false;
    if (!session.isAuthenticated || session.transaction !== undefined) return false;
    if (!arityMatches(route.command, request.count)) return false;
    const { router, counters, intake } = this.#host;
    const reply = router.read(request, this.id);
    if (reply === undefined) return false;
    const isRefusal = reply instanceof Refusal;
    if (isRefusal) counters.refusals += 1;
    this.#lastCommand = name;
    intake.passed(isQuick);
    this.#readMs ??= performance.now();
    tally.answered(isRefusal, this.#readMs - this.#burstMs);
    this.#draft.write(reply, session.protocol);
    if (this.#draft.length >= OUTPUT_SOFT_BYTES) this.#send();
    return true;
  }

  #onServerCommand(command: ServerCommand, args: Args, slot: ReplySlot): void {
    const reply = this.#runServerCommand(command, args, slot);
    // HELLO answers in the protocol that it has chosen.
    if (!slot.isAnswered) slot.protocol = this.session.protocol;
    if (reply !== undefined) slot.answered(reply);
  }

  #runServerCommand(command: ServerCommand, args: Args, slot: ReplySlot): Reply | undefined {
    const { transaction, isAuthenticated } = this.session;
    if (!arityMatches(command, args.length)) return this.#refuse(wrongArity(command.name));
    const isOpenToAll = command.flags.includes("no_auth");
    if (!isAuthenticated && !isOpenToAll) return this.#refuse(NOT_AUTHENTICATED);
    if (transaction !== undefined && command.inTransaction !== "run") {
      return queueServerCommand(transaction, command, args);
    }
    return command.run(args, { client: this, host: this.#host, sink: slot });
  }

  #onShardCommand(route: Route, request: Command, slot: ReplySlot): void {
    const { session } = this;
    const { command } = route;
    if (!arityMatches(command, request.count)) {
      slot.answered(this.#refuse(wrongArity(command.name)));
    } else if (!session.isAuthenticated) {
      slot.answered(this.#refuse(NOT_AUTHENTICATED));
    } else if (session.transaction !== undefined) {
      const place = this.#host.router.placeOf(route, request);
      slot.answered(queueShardCommand(session, session.transaction, place, request));
    } else {
      this.#host.router.dispatchTo(route, request, this.id, slot);
    }
  }

  /** Refuses a command before it is looked at; one inside a transaction aborts it. */
  #refuse(refusal: Refusal): Refusal {
    const { transaction } = this.session;
    return transaction === undefined ? refusal : abort(transaction, refusal);
  }

  /** Counts an answer that has yet to go out, and gives up on a client that leaves too much of them. */
  #onWaiting(slot: ReplySlot): void {
    const bytes = weightOf(slot.reply);
    const before = this.#waitingBytes;
    slot.waitingBytes = bytes;
    this.#waitingBytes += bytes;
    this.#replyBytes = Math.max(bytes, this.#replyBytes * REPLY_BYTES_DECAY);
    // A client is given up only if it had something to read and let it lie, not for answers that come all at once.
    const isBackedUp = this.#socket.writableLength >= OUTPUT_SOFT_BYTES;
    if (!isBackedUp || before <= OUTPUT_HARD_BYTES_MAX) return;
    this.#host.counters.outputLimitDisconnections += 1;
    this.destroy();
  }

  /** All that is answered in one turn goes out in one write. */
  #planFlush(when: "soon" | "turn-end" = "soon"): void {
    if (this.#isFlushPlanned || this.#isClosed) return;
    this.#isFlushPlanned = true;
    const { outbox } = this.#host;
    if (when === "soon") outbox.flushSoon(this);
    else outbox.flushAtTurnEnd(this);
  }

  flush(): void {
    this.#isFlushPlanned = false;
    if (this.#isClosed) return;
    const draft = this.#draft;
    const room = OUTPUT_SOFT_BYTES - this.#socket.writableLength;
    if (this.#first?.isAnswered === true) draft.begin();
    while (this.#first?.isAnswered === true && draft.length < room) {
      const slot = this.#first;
      this.#first = slot.next;
      // One that has become old would keep all that came after it from being collected with the young.
      slot.next = undefined;
      if (this.#first === undefined) this.#last = undefined;
      this.#inFlight -= 1;
      this.#waitingBytes -= slot.waitingBytes;
      if (!slot.isSilent) draft.write(slot.reply, slot.protocol);
    }
    this.#send();
    if (this.#inFlight <= IN_FLIGHT_RESUME) this.#process();
    this.#maybeEnd();
  }

  /** Sends the replies that are written. */
  #send(): void {
    const { length } = this.#draft;
    if (length === 0) return;
    this.#host.counters.outputBytes += length;
    // Not by `drain`, which a later write can keep from coming.
    this.#draft.send(this.#socket, this.#onSent);
  }

  /** The socket has taken a write: there may be room for what waited for it. */
  #onWritten(): void {
    const isWaiting = this.#first?.isAnswered === true || this.#hasInputEnded;
    if (isWaiting || !this.#isReading) this.#planFlush();
  }

  #maybeEnd(): void {
    if (this.#inFlight > 0 || this.#draft.length > 0 || this.#socket.writableEnded) return;
    // After the client's end, what is left in the parser can only be half a request.
    const hasTakenAll = this.#mayTakeRequest && !this.#isWaiting;
    const isDone = this.#isClosing || (this.#hasInputEnded && hasTakenAll);
    if (!isDone) return;
    this.#isClosing = true;
    this.#socket.end();
    // What still comes is not looked at but read: closing over unread bytes would take the last replies from the client.
    this.#socket.resume();
    setTimeout(() => this.#socket.destroy(), LINGER_MS).unref();
  }
}

function newSession(host: Host): Session {
  return {
    protocol: 2,
    name: "",
    libraryName: "",
    libraryVersion: "",
    isAuthenticated: host.settings.requirePass === "",
    isNoEvict: false,
    isNoTouch: false,
    replies: "on",
    transaction: undefined,
    watched: new Map(),
    watchedShard: undefined,
    isWatchBroken: false,
  };
}

/** Approximate bytes of a reply that waits. */
function weightOf(reply: Reply): number {
  if (typeof reply === "string" || reply instanceof Bytes) return reply.length + 16;
  if (Array.isArray(reply))
    return reply.reduce((sum: number, item: Reply) => sum + weightOf(item), 16);
  return 16;
}

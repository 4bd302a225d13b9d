/**
 * Questions and answers between the main thread and another, over the port between them. For what is asked seldom: each takes a
 * message there and one back. Bells go over the same port.
 */

import type { MessagePort, Worker } from "node:worker_threads";
import { assert } from "../kit/assert.ts";

/** What rings: the shortest message that there is. */
const BELL = 0;

/** Names of questions, with what is asked and answered. Everything has to survive a structured clone. */
export type Questions<Names extends string> = {
  readonly [Name in Names]: { readonly ask: unknown; readonly answer: unknown };
};

/** How each question is answered; `take` is called once, at once or later. */
export type Answers<Asked extends Questions<string>> = {
  readonly [Name in keyof Asked]: (
    ask: Asked[Name]["ask"],
    take: (answer: Asked[Name]["answer"]) => void,
  ) => void;
};

type Word =
  | typeof BELL
  | { readonly kind: "ask"; readonly id: number; readonly name: string; readonly ask: unknown }
  | { readonly kind: "answer"; readonly id: number; readonly answer: unknown };

type AnyAnswer = (ask: unknown, take: (answer: unknown) => void) => void;

/** One thread's end. `Out` is what it asks, `In` what it is asked. */
export class Calls<Out extends Questions<string>, In extends Questions<string>> {
  readonly #port: Pick<MessagePort | Worker, "postMessage">;
  readonly #answers: Readonly<Record<string, AnyAnswer>>;
  readonly #onBell: () => void;
  readonly #asked = new Map<number, (answer: unknown) => void>();
  #nextId = 1;

  /** @param onBell called when the other thread has rung. */
  constructor(port: MessagePort | Worker, answers: Answers<In>, onBell: () => void) {
    this.#port = port;
    this.#answers = answers as unknown as Readonly<Record<string, AnyAnswer>>;
    this.#onBell = onBell;
    (port as MessagePort).on("message", (word: Word) => this.#onWord(word));
  }

  ring(): void {
    this.#port.postMessage(BELL);
  }

  /** @param take is told the answer, in a later turn. */
  ask<Name extends keyof Out & string>(
    name: Name,
    ask: Out[Name]["ask"],
    take: (answer: Out[Name]["answer"]) => void,
  ): void {
    const id = this.#nextId;
    this.#nextId += 1;
    this.#asked.set(id, take);
    this.#say({ kind: "ask", id, name, ask });
  }

  #say(word: Word): void {
    this.#port.postMessage(word);
  }

  #onWord(word: Word): void {
    if (word === BELL) {
      this.#onBell();
    } else if (word.kind === "ask") {
      const answer = this.#answers[word.name];
      assert(answer !== undefined, "both ends know the questions");
      answer(word.ask, (found) => this.#say({ kind: "answer", id: word.id, answer: found }));
    } else {
      const take = this.#asked.get(word.id);
      assert(take !== undefined, "a question is answered once");
      this.#asked.delete(word.id);
      take(word.answer);
    }
  }
}

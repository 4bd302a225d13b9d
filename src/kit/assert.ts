/** Assertions for bugs. They stay on in production: a broken invariant must stop the process, not the data. */

/** Thrown when an invariant of this program does not hold; never for bad input. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/**
 * @param condition what must hold.
 * @param message what it means that it does not.
 * @throws AssertionError if the condition is false.
 */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** The end of an exhaustive `switch`: the compiler proves that no value gets here. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${JSON.stringify(value)}`);
}

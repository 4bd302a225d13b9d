/**
 * Programs that drop packets, in the classic form of the Berkeley packet filter, as `tc filter … bpf direct-action` takes
 * them. They need neither netem nor netfilter, which not every kernel has. Pure.
 *
 * S. McCanne, V. Jacobson: The BSD Packet Filter, 1993, section 3; the ancillary load of chance is Linux's own.
 */

/** One instruction: operation, jump if true, jump if false, operand. */
type Instruction = readonly [code: number, jumpTrue: number, jumpFalse: number, operand: number];

/** Operations: load a half word or a word from a fixed place, jump, return. */
const LOAD_HALF = 0x28;
const LOAD_WORD = 0x20;
const JUMP_EQUAL = 0x15;
const JUMP_GREATER_OR_EQUAL = 0x35;
const RETURN = 0x06;

/** Places in an Ethernet frame that carries IPv4. Bytes. */
const ETHERTYPE_AT = 12;
const SOURCE_AT = 26;
const IPV4 = 0x0800;
/** Where Linux answers a load with a random word. */
const RANDOM_AT = 0xffff_f000 + 56;

/** What `tc` does with a packet: look on (there is nothing more to look at, so it passes), or drop it. */
const PASS: Instruction = [RETURN, 0, 0, 0xffff_ffff];
const DROP: Instruction = [RETURN, 0, 0, 2];

/** At most so many sources fit, as a jump skips at most 255 instructions. */
const SOURCES_MAX = 250;

/** @returns a program that drops every packet, address resolution included. */
export function dropAll(): string {
  return assemble([DROP]);
}

/**
 * @param sources IPv4 addresses in dotted form.
 * @returns a program that drops IPv4 packets that come from any of them.
 * @throws RangeError if there are too many of them, or one is no address.
 */
export function dropFrom(sources: readonly string[]): string {
  if (sources.length > SOURCES_MAX) throw new RangeError(`more than ${SOURCES_MAX} sources`);
  const count = sources.length;
  return assemble([
    [LOAD_HALF, 0, 0, ETHERTYPE_AT],
    [JUMP_EQUAL, 0, count + 1, IPV4],
    [LOAD_WORD, 0, 0, SOURCE_AT],
    // Each match jumps over the sources left and the PASS behind them.
    ...sources.map(
      (source, index): Instruction => [JUMP_EQUAL, count - index, 0, addressWord(source)],
    ),
    PASS,
    DROP,
  ]);
}

/**
 * @param share part of the packets, more than 0 and less than 1.
 * @returns a program that drops so many of the packets, each by chance.
 * @throws RangeError if the share is none.
 */
export function dropShare(share: number): string {
  if (!(share > 0 && share < 1)) throw new RangeError(`${share} is no share of the packets`);
  return assemble([
    [LOAD_WORD, 0, 0, RANDOM_AT],
    [JUMP_GREATER_OR_EQUAL, 0, 1, Math.round((1 - share) * 2 ** 32)],
    DROP,
    PASS,
  ]);
}

function addressWord(address: string): number {
  const bytes = address.split(".").map(Number);
  if (bytes.length !== 4 || bytes.some((byte) => !(byte >= 0 && byte <= 255))) {
    throw new RangeError(`${address} is no IPv4 address`);
  }
  return bytes.reduce((word, byte) => word * 256 + byte, 0);
}

/** The text that `tc` reads: the count, then each instruction's four numbers. */
function assemble(program: readonly Instruction[]): string {
  return [String(program.length), ...program.map((instruction) => instruction.join(" "))].join(",");
}

/** What a server counts. */

/** Counts since the start or CONFIG RESETSTAT. */
export interface Counters {
  connections: number;
  rejectedConnections: number;
  commands: number;
  refusals: number;
  protocolErrors: number;
  inputBytes: number;
  outputBytes: number;
  outputLimitDisconnections: number;
}

export function noCounts(): Counters {
  return {
    connections: 0,
    rejectedConnections: 0,
    commands: 0,
    refusals: 0,
    protocolErrors: 0,
    inputBytes: 0,
    outputBytes: 0,
    outputLimitDisconnections: 0,
  };
}

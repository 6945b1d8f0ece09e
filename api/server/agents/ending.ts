/** How a stream ends: a word for metrics, a sentence for the agent's log, and whether coming back makes sense. */
export type EndReason =
  | 'closed'
  | 'superseded'
  | 'removed'
  | 'duplicate'
  | 'refused'
  | 'store'
  | 'malformed'
  | 'limit'
  | 'expired'
  | 'stale'
  | 'shutdown';

/** Thrown by whatever finds that the stream cannot go on. */
export class StreamEnd extends Error {
  override readonly name = 'StreamEnd';

  constructor(
    readonly reason: EndReason,
    message: string,
    readonly retry = true,
  ) {
    super(message);
  }
}

export const machineRemoved = (): StreamEnd =>
  new StreamEnd('removed', 'the Machine object was removed: this machine has to join again, with a new token', false);

export const superseded = (): StreamEnd => new StreamEnd('superseded', 'a newer stream of this machine took over');

export const duplicateMachine = ([a, b]: readonly [string, string]): StreamEnd =>
  new StreamEnd('duplicate', `two hosts use this machine id (boot ids ${a} and ${b}): both are kept out until one of them has another`);

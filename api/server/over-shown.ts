/** Changes that are made out on an object as this server shows it, and written over that one only. */
import { StatusError } from '../resources/errors.js';

/** Races that one change may lose before its caller is told. */
const maxAttempts = 5;

export interface OverShown<T> {
  /** Version of the object that the change was made out on. */
  readonly shown: string | undefined;
  /** Version over which it is to be written: the same, unless the client named another one and is to be told of the conflict. */
  readonly over: unknown;
  readonly write: () => Promise<T>;
}

/** Makes the change out anew, and writes it again, when what was shown has changed meanwhile. */
export async function writeOverShown<T>(makeOut: () => OverShown<T> | Promise<OverShown<T>>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const { shown, over, write } = await makeOut();
    try {
      return await write();
    } catch (error) {
      const isRace = error instanceof StatusError && error.reason === 'Conflict' && over === shown;
      if (!isRace || attempt === maxAttempts) throw error;
    }
  }
}

/** What a server last said belongs on this machine, on disk: a machine that boots while the control plane is away runs by it (SEMANTICS 16). */
import { z } from 'zod';
import { AgentAssignment } from '../api/resources/protocol.js';
import type { Logger } from '../runtime/log.js';
import type { StateFiles } from './files.js';
import { sharedWork } from './shared-work.js';

const Stored = z.object({
  version: z.literal(1),
  clusterUid: z.string(),
  revision: z.int(),
  assignments: z.array(AgentAssignment),
});
type Stored = z.infer<typeof Stored>;

const concern = 'assignments';

export class LastKnownGood {
  #stored: Stored | undefined;
  readonly #save: () => Promise<void>;
  readonly #log: Logger;

  private constructor(files: StateFiles, log: Logger, stored: Stored | undefined) {
    this.#stored = stored;
    this.#log = log;
    this.#save = sharedWork(async () => {
      if (this.#stored) await files.write(concern, this.#stored);
    });
  }

  static async open(files: StateFiles, log: Logger): Promise<LastKnownGood> {
    const read = await files.read(concern);
    const parsed = Stored.safeParse(read);
    if (read !== undefined && !parsed.success) log.error('stored assignments are not as they should be; going on without them');
    return new LastKnownGood(files, log, parsed.data);
  }

  get clusterUid(): string | undefined {
    return this.#stored?.clusterUid;
  }

  /** Store revision as of which the assignments are complete; undefined before the first snapshot. */
  get revision(): number | undefined {
    return this.#stored?.revision;
  }

  get assignments(): readonly AgentAssignment[] {
    return this.#stored?.assignments ?? [];
  }

  keep(clusterUid: string, revision: number, assignments: readonly AgentAssignment[]): void {
    this.#stored = { version: 1, clusterUid, revision, assignments: [...assignments] };
    this.#save().catch((error: Error) => this.#log.error('assignments could not be written', { error: error.message }));
  }

  /** Resolves when everything kept is safely on disk. */
  flush(): Promise<void> {
    return this.#save();
  }
}

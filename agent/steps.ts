/** Everything that the agent can do to a unit, in one list. Add a step here, and the compiler leads to the place that carries it out. */
import type { Start } from './records.js';
import type { InstallLink, OwnFile } from './unit-text.js';

export interface StepArgs {
  /** Writes the new file beside the old one, so that the stop is followed by a rename and nothing else. */
  stage: { file: OwnFile };
  /** Stops the unit, waits until nothing of it runs, lets go of what is left of a failure, and forgets that it was started. */
  stop: Record<never, never>;
  /** It has ended already: forgets that it was started. */
  unlaunch: Record<never, never>;
  /** Makes the enable links of [Install] exactly these. Comes before `write`: a file in place means that its links are, too. */
  link: { links: readonly InstallLink[] };
  /** Puts the staged file in place. */
  write: Record<never, never>;
  /** One daemon-reload, shared with other units, and only if systemd says that it still holds the old file. */
  reload: Record<never, never>;
  resetFailed: Record<never, never>;
  /** Remembers that it is about to start, asks systemd, remembers that it did. */
  start: { start: Start };
  /** It runs, and goes on running: systemd starts what it wants and does not run. */
  startWanted: Record<never, never>;
  /** It runs already, as wanted: remembers it as started. */
  adopt: { start: Start };
  /** Puts the file back that systemd could load. */
  rollBack: Record<never, never>;
  /** The assignment is carried out: from now on its generation is reported. */
  accept: { uid: string; generation: number; template: { uid: string; generation: number } | undefined };
  /** Removes file and links. */
  remove: Record<never, never>;
  /** Nothing of the unit is left here. */
  forget: Record<never, never>;
}

export type Step = { [Do in keyof StepArgs]: { readonly do: Do; readonly why: string } & Readonly<StepArgs[Do]> }[keyof StepArgs];

/** `again`: what happened was not what the plan counted on; look and plan anew. */
export type StepOutcome = 'done' | 'again';

export type Executors = {
  readonly [Do in keyof StepArgs]: (name: string, args: Readonly<StepArgs[Do]>) => StepOutcome | Promise<StepOutcome>;
};

export const carryOut = (executors: Executors, name: string, step: Step): StepOutcome | Promise<StepOutcome> =>
  // The step's own word picks the executor that takes its arguments; the compiler cannot see that the two go together.
  (executors[step.do] as (name: string, args: Step) => StepOutcome | Promise<StepOutcome>)(name, step);

/** Assignment: the scheduler's decision that a Unit runs on a Machine; State: what that machine's agent saw of it. */
import { z } from 'zod';
import type { FlotillaObject } from './meta.js';

/** `/flotilla/assignments/<machine>/<unit>`: written by the leader only, fenced. */
export const AssignmentSpec = z.strictObject({
  unit: z.string(),
  machine: z.string(),
  unitUid: z.string(),
  /** Generation of the Unit that this assignment carries out. */
  generation: z.int(),
  /** Instances that follow a template: where their text comes from (SEMANTICS 9). */
  template: z.strictObject({ name: z.string(), uid: z.string(), generation: z.int() }).optional(),
  /** sha256 of the unit text, a key under /flotilla/contents/. */
  textHash: z.string(),
  wanted: z.enum(['loaded', 'launched']),
  /** A change of this value asks for one restart. */
  restart: z.string().optional(),
  failover: z.enum(['stay', 'atLeastOnce', 'atMostOnce']),
  /** Marked for removal: the agent stops the process, removes the file and reports it gone. The words say why. */
  remove: z.string().optional(),
  /** When it was marked, ISO 8601. */
  removeAt: z.string().optional(),
  assignedAt: z.string(),
});
export type AssignmentSpec = z.infer<typeof AssignmentSpec>;

/** `/flotilla/states/<machine>/<unit>`: written by the server that holds that agent's stream. */
export const UnitState = z.strictObject({
  unitUid: z.string(),
  /** Generation of the Unit that the agent last carried out. */
  generation: z.int(),
  template: z.strictObject({ uid: z.string(), generation: z.int() }).optional(),
  /** sha256 of the text on disk; '' when none is. */
  textHash: z.string(),
  /** sha256 of the text that the running process was started with. */
  runningHash: z.string().optional(),
  load: z.string(),
  active: z.string(),
  sub: z.string(),
  /** systemd's Result of the last run: success, exit-code, signal, timeout... */
  result: z.string().optional(),
  /** Service Type= as systemd has it, to tell a finished oneshot from a stopped daemon. */
  type: z.string().optional(),
  exitStatus: z.int().optional(),
  exitCode: z.string().optional(),
  /** When the active state last changed, ISO 8601. */
  since: z.string(),
  mainPID: z.int().optional(),
  invocationID: z.string().optional(),
  restarts: z.int().optional(),
  /** True once process and file are gone after `remove`. */
  gone: z.boolean().optional(),
  /** Why the agent does not do what is wanted, when it does not: reason word and sentence. */
  problem: z.strictObject({ reason: z.string(), message: z.string() }).optional(),
});
export type UnitState = z.infer<typeof UnitState>;

export type Assignment = FlotillaObject<AssignmentSpec, UnitState>;

/** An Assignment's name: the unit's name, a dot, the first 8 characters of the machine id. */
export const assignmentName = (unit: string, machine: string): string => `${unit}.${machine.slice(0, 8)}`;

/** Machine: a host that runs the agent; its name is the host's /etc/machine-id. Fleet's machine metadata are its labels. */
import { z } from 'zod';
import { Condition, type FlotillaObject } from './meta.js';

export const Taint = z.strictObject({
  key: z.string().min(1).max(317).describe('Name of the taint.'),
  value: z.string().max(256).optional().describe('What tolerations with operator Equal compare.'),
  effect: z.enum(['NoSchedule', 'NoExecute']).describe('NoSchedule: nothing new is placed here. NoExecute: what runs here leaves, too.'),
});
export type Taint = z.infer<typeof Taint>;

export const MachineSpec = z.strictObject({
  unschedulable: z.boolean().optional().describe('Cordoned: nothing new is placed here.'),
  drain: z.boolean().optional().describe('Cordoned, and units that can run elsewhere move off.'),
  taints: z.array(Taint).max(50).optional().describe('Keep units away that do not tolerate them.'),
});
export type MachineSpec = z.infer<typeof MachineSpec>;

/** What an agent says of its host when its stream opens; kept in presence, copied into the Machine's status by the leader. */
export const MachineInfo = z.strictObject({
  hostname: z.string().max(256),
  address: z.string().max(256).describe('Primary IP address.'),
  bootID: z.string().max(64),
  agentVersion: z.string().max(64),
  systemdVersion: z.string().max(64).optional(),
  kernelVersion: z.string().max(256).optional(),
  osImage: z.string().max(256).optional(),
  /** Cores. */
  cpus: z.number().nonnegative(),
  memoryBytes: z.number().nonnegative(),
});
export type MachineInfo = z.infer<typeof MachineInfo>;

export const MachineStatus = z.strictObject({
  observedGeneration: z.int().optional(),
  conditions: z.array(Condition).optional(),
  info: MachineInfo.optional(),
  /** How many units are assigned here. */
  units: z.int().optional(),
});
export type MachineStatus = z.infer<typeof MachineStatus>;

export type Machine = FlotillaObject<MachineSpec, MachineStatus>;

/** `/flotilla/presence/<id>`, leased: who holds the machine's stream now. */
export const Presence = z.strictObject({
  info: MachineInfo,
  /** The Machine object's uid. */
  machineUid: z.string(),
  /** One per stream, made by the server that took it over. */
  session: z.string(),
  /** The server that holds the stream. */
  server: z.string(),
  leaseId: z.string(),
  since: z.string(),
  /** Boot id of the stream that this one took over from while that one's presence still lived, when it was another boot. */
  replacedBoot: z.string().optional(),
  /**
   * Two hosts use this machine id at the same time: their boot ids, and which of them asked last. No stream is held and both are refused
   * while they keep taking turns (SEMANTICS 19); the leader makes it the Machine's condition: Ready False, reason DuplicateMachineID.
   */
  duplicate: z.strictObject({ bootIDs: z.tuple([z.string(), z.string()]), lastSeen: z.string() }).optional(),
});
export type Presence = z.infer<typeof Presence>;

/** Objects as the wire has them, for reading only: the client trusts the server's answers and checks none of its schemas. */

export interface WireCondition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime: string;
  readonly observedGeneration?: number;
}

export interface WireObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly uid?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly generation?: number;
    readonly resourceVersion?: string;
    readonly creationTimestamp?: string;
    readonly deletionTimestamp?: string;
    readonly managedFields?: readonly unknown[];
  };
  readonly spec?: Readonly<Record<string, unknown>>;
  readonly status?: Readonly<Record<string, unknown>> & {
    readonly conditions?: readonly WireCondition[];
    readonly observedGeneration?: number;
  };
}

export interface WireList {
  readonly items: readonly WireObject[];
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string };
}

export interface WireMachine extends WireObject {
  readonly spec?: { readonly unschedulable?: boolean; readonly drain?: boolean };
  readonly status?: WireObject['status'] & { readonly info?: MachineInfo };
}

/** What an agent told of its machine. */
export interface MachineInfo {
  readonly hostname: string;
  readonly address: string;
  readonly osImage: string;
  readonly kernelVersion: string;
  readonly systemdVersion: string;
  readonly agentVersion: string;
  readonly bootID: string;
  readonly cpus: number;
  readonly memoryBytes: number;
}

export interface WireAssignment extends WireObject {
  readonly spec: {
    readonly unit: string;
    readonly machine: string;
    readonly wanted: string;
    readonly failover: string;
    readonly remove?: string;
    /** Generation of the unit that it carries out. */
    readonly generation: number;
    /** The restart that was asked for last. */
    readonly restart?: string;
  };
  /** Absent until its agent has reported. */
  readonly status?: WireObject['status'] & {
    readonly active?: string;
    readonly sub?: string;
    readonly mainPID?: number;
    /** A new one for each run. */
    readonly invocationID?: string;
    /** Generation that the agent has carried out. */
    readonly generation?: number;
    readonly load?: string;
    /** Type= of a service. */
    readonly type?: string;
    readonly result?: string;
    readonly restarts?: number;
    /** When it took on its active state. */
    readonly since?: string;
    readonly problem?: { readonly message: string };
  };
}

export interface WireEvent extends WireObject {
  readonly type: string;
  readonly reason: string;
  readonly message: string;
  readonly count: number;
  readonly lastTimestamp: string;
  readonly involvedObject: { readonly kind: string; readonly name: string };
  readonly source?: { readonly component?: string };
}

/** Oldest first; events of one second in the order in which they were written. */
export const byTime = (a: WireEvent, b: WireEvent): number =>
  a.lastTimestamp === b.lastTimestamp
    ? Number(a.metadata.resourceVersion) - Number(b.metadata.resourceVersion)
    : a.lastTimestamp < b.lastTimestamp
      ? -1
      : 1;

export const conditionOf = (object: WireObject, type: string): WireCondition | undefined =>
  object.status?.conditions?.find((condition) => condition.type.toLowerCase() === type.toLowerCase());

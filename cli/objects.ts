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
  readonly status?: WireObject['status'] & { readonly info?: { readonly hostname: string; readonly address: string } };
}

export const conditionOf = (object: WireObject, type: string): WireCondition | undefined =>
  object.status?.conditions?.find((condition) => condition.type.toLowerCase() === type.toLowerCase());

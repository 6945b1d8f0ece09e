/** What the controllers say about objects for people to read: Events. */

export interface ObjectReference {
  readonly kind: string;
  readonly name: string;
  readonly uid?: string;
}

export interface EventRecorder {
  /** `reason` is one CamelCase word, `message` a sentence. Never throws and never waits. */
  record(about: ObjectReference, type: 'Normal' | 'Warning', reason: string, message: string): void;
}

export interface ControllerEvent {
  readonly about: ObjectReference;
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly message: string;
}

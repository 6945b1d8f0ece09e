/** Reasons in a Unit's conditions for how systemd ended a start job that left the unit down: systemd's job result → our word. */
export const startResultReasons = {
  failed: 'StartFailed',
  unsupported: 'Unsupported',
  dependency: 'DependencyFailed',
  assert: 'AssertFailed',
  timeout: 'JobTimedOut',
  once: 'RanOnce',
} as const;

/** The unit may have lacked another one, which can still come to the machine. */
export const mayLackAnother = (reason: string): boolean => reason === startResultReasons.failed || reason === startResultReasons.dependency;

/** Nothing more comes of such a start by itself; another one may go well. */
export const isStartResultReason = (reason: string): boolean => (Object.values(startResultReasons) as string[]).includes(reason);

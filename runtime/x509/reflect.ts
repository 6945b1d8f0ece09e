/**
 * @peculiar/x509 is wired by tsyringe, which wants `Reflect.getMetadata` and its kin at load time. It stores one map per class and
 * reads it back; these lines are all that it uses, so no package is needed for it.
 */
const stored = new WeakMap<object, Map<PropertyKey, unknown>>();

const getOwnMetadata = (key: PropertyKey, target: object): unknown => stored.get(target)?.get(key);

function getMetadata(key: PropertyKey, target: object): unknown {
  for (let at: object | null = target; at; at = Object.getPrototypeOf(at)) {
    if (stored.get(at)?.has(key)) return getOwnMetadata(key, at);
  }
  return undefined;
}

function defineMetadata(key: PropertyKey, value: unknown, target: object): void {
  const own = stored.get(target) ?? new Map<PropertyKey, unknown>();
  stored.set(target, own.set(key, value));
}

for (const [name, value] of Object.entries({ getMetadata, getOwnMetadata, defineMetadata })) {
  if (!(name in Reflect)) Object.defineProperty(Reflect, name, { value, configurable: true, writable: true });
}

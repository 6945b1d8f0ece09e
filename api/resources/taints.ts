/** Whether a unit puts up with a machine's taints, as Kubernetes decides it. */
import type { FieldError } from './errors.js';
import type { Taint } from './machine.js';
import type { Placement } from './unit.js';

export type Toleration = NonNullable<Placement['tolerations']>[number];

const effects = ['NoSchedule', 'NoExecute'];

export function tolerates(tolerations: readonly Toleration[], taint: Taint): boolean {
  return tolerations.some(({ key, operator, value, effect }) => {
    if (effect && effect !== taint.effect) return false;
    if (key && key !== taint.key) return false;
    return operator === 'Exists' || (Boolean(key) && (value ?? '') === (taint.value ?? ''));
  });
}

export function validateTolerations(tolerations: readonly Toleration[], field: string): FieldError[] {
  return tolerations.flatMap(({ key, operator, value, effect }, index) => {
    const at = `${field}[${index}]`;
    if (!key && operator !== 'Exists') return [{ field: `${at}.operator`, message: 'must be Exists when there is no key' }];
    if (operator === 'Exists' && value) return [{ field: `${at}.value`, message: 'must be empty when operator is Exists' }];
    if (effect && !effects.includes(effect)) return [{ field: `${at}.effect`, message: `expected one of ${effects.join(', ')}` }];
    return [];
  });
}

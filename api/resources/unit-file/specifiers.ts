/** The four specifiers that fleet expands in [X-Fleet] options. All others are systemd's own business, on the machine. */
import { splitUnitName } from '../unit-name.js';

/** `%n` the name, `%N` without its type, `%p` up to the `@`, `%i` after it. A template's stay as they are: only an instance has values. */
export function expandSpecifiers(value: string, name: string): string {
  const { stem, prefix, instance } = splitUnitName(name);
  if (instance === '' || !value.includes('%')) return value;
  return value.replace(/%([nNpi])/g, (_, letter: string) => {
    if (letter === 'n') return name;
    if (letter === 'N') return stem;
    return letter === 'p' ? prefix : (instance ?? '');
  });
}

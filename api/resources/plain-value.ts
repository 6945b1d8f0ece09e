/** What any value from outside must be before anything else looks at it: a tree of bounded size, without keys that reach a prototype. */
import { forbiddenKeys } from './meta-validation.js';

/** Nodes of one object, counted as often as they are met: an alias or a shared reference costs what it stands for. */
export const maxNodes = 20_000;
export const maxDepth = 32;

export interface ValueProblem {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** The first problem met, or undefined. Ends after `limit` steps whatever it is given, cycles too. */
export const plainValueProblem = (value: unknown, limit = maxNodes): ValueProblem | undefined => measureValue(value, limit).problem;

/** The same, with the number of nodes that were met. */
export function measureValue(value: unknown, limit = maxNodes): { readonly nodes: number; readonly problem?: ValueProblem } {
  let nodes = 0;

  const visit = (current: unknown, path: readonly (string | number)[]): ValueProblem | undefined => {
    if (++nodes > limit) return { path: [], message: `has more than ${limit} nodes, aliases counted as often as they are used` };
    if (typeof current === 'number' && Number.isInteger(current) && !Number.isSafeInteger(current)) {
      return { path, message: 'the number is too large to be kept exactly; put it in quotes' };
    }
    if (typeof current !== 'object' || current === null) return undefined;
    if (path.length >= maxDepth) return { path: path.slice(0, 4), message: `is nested deeper than ${maxDepth} levels` };
    if (Array.isArray(current)) {
      for (const [index, item] of current.entries()) {
        const problem = visit(item, [...path, index]);
        if (problem !== undefined) return problem;
      }
      return undefined;
    }
    for (const [key, item] of Object.entries(current)) {
      if (forbiddenKeys.has(key)) return { path: [...path, key], message: 'this key is not allowed anywhere' };
      const problem = visit(item, [...path, key]);
      if (problem !== undefined) return problem;
    }
    return undefined;
  };
  const problem = visit(value, []);
  return { nodes, ...(problem === undefined ? {} : { problem }) };
}

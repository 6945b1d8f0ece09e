/** Label and field selectors, in the grammar that kubectl sends. */
import { type FieldError, StatusError } from './errors.js';
import type { Kind } from './kinds.js';
import type { FlotillaObject } from './meta.js';
import { labelKeyProblem, labelValueProblem } from './meta-validation.js';
import type { LabelSelector } from './unit.js';

export type Requirement =
  | { readonly key: string; readonly operator: 'In' | 'NotIn'; readonly values: readonly string[] }
  | { readonly key: string; readonly operator: 'Exists' | 'DoesNotExist' };

export type Labels = Readonly<Record<string, string>>;

/** Longest selector that is read. */
const maxSelectorLength = 16_384;

/** All requirements hold. As in Kubernetes, `!=` and `notin` also hold where the label is absent. */
export const matches = (requirements: readonly Requirement[], labels: Labels | undefined): boolean =>
  requirements.every((requirement) => holds(requirement, labels));

function holds(requirement: Requirement, labels: Labels | undefined): boolean {
  const value = labels !== undefined && Object.hasOwn(labels, requirement.key) ? labels[requirement.key] : undefined;
  switch (requirement.operator) {
    case 'In':
      return value !== undefined && requirement.values.includes(value);
    case 'NotIn':
      return value === undefined || !requirement.values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
  }
}

/**
 * `a=b,c!=d,e in (f,g),h notin (i),j,!k`; the empty selector matches everything.
 * @throws StatusError BadRequest
 */
export function parseLabelSelector(text: string): Requirement[] {
  const tokens = tokenize(text);
  const requirements: Requirement[] = [];
  let at = 0;
  const fail = (what: string): never => {
    throw new StatusError('BadRequest', `unable to parse label selector: ${what}`);
  };
  const word = (what: string): string => {
    const token = tokens[at++];
    if (token === undefined || token.kind !== 'word') return fail(`expected ${what}, found ${shown(token)}`);
    return token.text;
  };
  const isSymbol = (symbol: string): boolean => tokens[at]?.kind === 'symbol' && tokens[at]?.text === symbol;

  while (at < tokens.length) {
    if (requirements.length > 0) {
      if (!isSymbol(',')) fail(`expected "," between requirements, found ${shown(tokens[at])}`);
      at++;
    }
    if (isSymbol('!')) {
      at++;
      requirements.push({ key: checkedKey(word('a label key'), fail), operator: 'DoesNotExist' });
      continue;
    }
    const key = checkedKey(word('a label key'), fail);
    const token = tokens[at];
    if (token === undefined || isSymbol(',')) {
      requirements.push({ key, operator: 'Exists' });
    } else if (token.kind === 'symbol' && ['=', '==', '!='].includes(token.text)) {
      at++;
      // "a=" asks for the empty value.
      const value = tokens[at]?.kind === 'word' ? word('a value') : '';
      requirements.push({ key, operator: token.text === '!=' ? 'NotIn' : 'In', values: [value] });
    } else if (token.kind === 'word' && (token.text === 'in' || token.text === 'notin')) {
      at++;
      requirements.push({ key, operator: token.text === 'in' ? 'In' : 'NotIn', values: valueList() });
    } else {
      fail(`expected one of =, ==, !=, in, notin after ${JSON.stringify(key)}, found ${shown(token)}`);
    }
  }
  return requirements;

  function valueList(): string[] {
    if (!isSymbol('(')) fail(`expected "(", found ${shown(tokens[at])}`);
    at++;
    const values: string[] = [];
    for (;;) {
      values.push(tokens[at]?.kind === 'word' ? word('a value') : '');
      if (isSymbol(')')) {
        at++;
        return values;
      }
      if (!isSymbol(',')) fail(`expected "," or ")", found ${shown(tokens[at])}`);
      at++;
    }
  }
}

function checkedKey(key: string, fail: (what: string) => never): string {
  const problem = labelKeyProblem(key);
  return problem === undefined ? key : fail(problem);
}

interface Token {
  readonly kind: 'word' | 'symbol';
  readonly text: string;
}

const shown = (token: Token | undefined): string => (token === undefined ? 'the end' : JSON.stringify(token.text.slice(0, 64)));

function tokenize(text: string): Token[] {
  if (text.length > maxSelectorLength) {
    throw new StatusError('BadRequest', `a selector can have at most ${maxSelectorLength} characters, this one has ${text.length}`);
  }
  return Array.from(text.matchAll(/\s*(?:(==|!=|[=!,()])|([^\s=!,()]+))/g), ([, symbol, word]) =>
    symbol === undefined ? { kind: 'word', text: word ?? '' } : { kind: 'symbol', text: symbol },
  );
}

/** The requirements of a structured selector, which was validated before. */
export function requirementsOf(selector: LabelSelector): Requirement[] {
  const exact = Object.entries(selector.matchLabels ?? {}).map(([key, value]): Requirement => ({ key, operator: 'In', values: [value] }));
  const expressions = (selector.matchExpressions ?? []).map(
    ({ key, operator, values = [] }): Requirement =>
      operator === 'In' || operator === 'NotIn' ? { key, operator, values } : { key, operator },
  );
  return [...exact, ...expressions];
}

export const matchesSelector = (selector: LabelSelector, labels: Labels | undefined): boolean => matches(requirementsOf(selector), labels);

/** The text form of requirements: what `-l` would be. */
export const labelSelectorText = (requirements: readonly Requirement[]): string => requirements.map(requirementText).join(',');

function requirementText(requirement: Requirement): string {
  const { key } = requirement;
  switch (requirement.operator) {
    case 'Exists':
      return key;
    case 'DoesNotExist':
      return `!${key}`;
    case 'In':
      return requirement.values.length === 1 ? `${key}=${requirement.values[0]}` : `${key} in (${requirement.values.join(',')})`;
    case 'NotIn':
      return requirement.values.length === 1 ? `${key}!=${requirement.values[0]}` : `${key} notin (${requirement.values.join(',')})`;
  }
}

export function validateLabelSelector(selector: LabelSelector, field: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    const problem = labelKeyProblem(key) ?? labelValueProblem(value);
    if (problem !== undefined) errors.push({ field: `${field}.matchLabels[${JSON.stringify(key)}]`, message: problem });
  }
  for (const [index, { key, operator, values = [] }] of (selector.matchExpressions ?? []).entries()) {
    const at = `${field}.matchExpressions[${index}]`;
    const problem = labelKeyProblem(key);
    const takesValues = operator === 'In' || operator === 'NotIn';
    if (problem !== undefined) errors.push({ field: `${at}.key`, message: problem });
    if (takesValues && values.length === 0) errors.push({ field: `${at}.values`, message: `must not be empty with operator ${operator}` });
    if (!takesValues && values.length > 0) errors.push({ field: `${at}.values`, message: `must be empty with operator ${operator}` });
  }
  return errors;
}

export interface FieldTerm {
  readonly field: string;
  readonly equal: boolean;
  readonly value: string;
}

/**
 * `metadata.name=a,status.active!=failed`. A backslash takes the special meaning from a following `\`, `,` or `=`, as kubectl writes names
 * such as `dev-disk\x2dlabel.mount`; before anything else it stands for itself, as people write them.
 * @throws StatusError BadRequest
 */
export function parseFieldSelector(text: string): FieldTerm[] {
  if (text.length > maxSelectorLength) {
    throw new StatusError('BadRequest', `a selector can have at most ${maxSelectorLength} characters, this one has ${text.length}`);
  }
  return splitUnescaped(text)
    .filter((term) => term !== '')
    .map((term) => {
      // Field names hold no "=", so the first operator is the one that is meant; any later "=" has to be escaped.
      const match = /^([^=!]*)(!=|==|=)(.*)$/s.exec(term);
      if (match === null)
        throw new StatusError('BadRequest', `invalid field selector: ${JSON.stringify(term.slice(0, 128))}; expected field=value`);
      const [, field = '', operator, value = ''] = match;
      return { field: field.trim(), equal: operator !== '!=', value: unescapeValue(value) };
    });
}

function splitUnescaped(text: string): string[] {
  const terms: string[] = [];
  let current = '';
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!;
    if (char === '\\' && at + 1 < text.length) current += char + text[++at]!;
    else if (char === ',') {
      terms.push(current);
      current = '';
    } else current += char;
  }
  return [...terms, current];
}

function unescapeValue(value: string): string {
  let result = '';
  for (let at = 0; at < value.length; at++) {
    const char = value[at]!;
    const next = value[at + 1];
    if (char === '\\' && (next === '\\' || next === ',' || next === '=')) {
      result += next;
      at++;
    } else if (char === '=') {
      throw new StatusError('BadRequest', 'invalid field selector: "=" in a value must be escaped with a backslash');
    } else {
      result += char;
    }
  }
  return result;
}

/**
 * A test for objects of the kind.
 * @throws StatusError BadRequest for a field that the kind cannot be selected by
 */
export function fieldMatcher(kind: Kind, terms: readonly FieldTerm[]): (object: FlotillaObject) => boolean {
  const tests = terms.map(({ field, equal, value }) => {
    const read = readerOf(kind, field);
    return (object: FlotillaObject) => (read(object) === value) === equal;
  });
  return (object) => tests.every((test) => test(object));
}

function readerOf(kind: Kind, field: string): (object: FlotillaObject) => string {
  if (field === 'metadata.name') return ({ metadata }) => metadata.name;
  // Our own kinds have no namespace; clients ask for the empty one.
  if (field === 'metadata.namespace') return ({ metadata }) => metadata.namespace ?? '';
  const read = Object.hasOwn(kind.selectableFields, field) ? kind.selectableFields[field] : undefined;
  if (read === undefined) throw new StatusError('BadRequest', `field label not supported: ${field.slice(0, 128)}`);
  return read;
}

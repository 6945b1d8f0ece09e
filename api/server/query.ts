/** Query parameters as Kubernetes clients send them, checked and typed. All functions throw StatusError. */
import type { FastifyRequest } from 'fastify';
import { StatusError } from '../resources/errors.js';
import type { IncludeObject } from './negotiation.js';

const queries = new WeakMap<FastifyRequest, URLSearchParams>();

/** Read once for each request, however many ask; for reading only. */
export function queryOf(request: FastifyRequest): URLSearchParams {
  const known = queries.get(request);
  if (known !== undefined) return known;
  const start = request.url.indexOf('?');
  const query = new URLSearchParams(start === -1 ? '' : request.url.slice(start + 1));
  queries.set(request, query);
  return query;
}

const invalid = (parameter: string, message: string): StatusError =>
  new StatusError('BadRequest', `the query parameter ${parameter} ${message}`, {
    causes: [{ reason: 'FieldValueInvalid', message, field: parameter }],
  });

/** As Kubernetes reads them: present is true unless it says `false` or `0`. */
export function flag(query: URLSearchParams, name: string): boolean | undefined {
  const value = query.get(name);
  return value === null ? undefined : value.toLowerCase() !== 'false' && value !== '0';
}

export function wholeNumber(query: URLSearchParams, name: string): number | undefined {
  const value = query.get(name);
  if (value === null || value === '') return undefined;
  if (!/^[0-9]{1,15}$/.test(value)) throw invalid(name, 'must be a whole number, 0 or more');
  return Number(value);
}

export function oneOf<const Values extends readonly string[]>(
  query: URLSearchParams,
  name: string,
  values: Values,
): Values[number] | undefined {
  const value = query.get(name);
  if (value === null || value === '') return undefined;
  if (!values.includes(value)) throw invalid(name, `must be one of ${values.join(', ')}`);
  return value;
}

/** The wire resourceVersion (SEMANTICS 1); undefined when absent or empty. */
export const resourceVersion = (query: URLSearchParams): number | undefined => wholeNumber(query, 'resourceVersion');

export interface ReadOptions {
  readonly labelSelector: string;
  readonly fieldSelector: string;
  readonly limit: number;
  readonly continue: string;
  readonly resourceVersion: number | undefined;
  readonly resourceVersionMatch: 'NotOlderThan' | 'Exact' | undefined;
  readonly includeObject: IncludeObject;
}

export function readOptions(query: URLSearchParams): ReadOptions {
  return {
    labelSelector: query.get('labelSelector') ?? '',
    fieldSelector: query.get('fieldSelector') ?? '',
    limit: wholeNumber(query, 'limit') ?? 0,
    continue: query.get('continue') ?? '',
    resourceVersion: resourceVersion(query),
    resourceVersionMatch: oneOf(query, 'resourceVersionMatch', ['NotOlderThan', 'Exact']),
    includeObject: oneOf(query, 'includeObject', ['None', 'Metadata', 'Object']) ?? 'Metadata',
  };
}

export interface WatchOptions extends ReadOptions {
  readonly timeoutSeconds: number | undefined;
  readonly allowWatchBookmarks: boolean;
  readonly sendInitialEvents: boolean | undefined;
}

export function watchOptions(query: URLSearchParams): WatchOptions {
  const options: WatchOptions = {
    ...readOptions(query),
    timeoutSeconds: wholeNumber(query, 'timeoutSeconds'),
    allowWatchBookmarks: flag(query, 'allowWatchBookmarks') ?? false,
    sendInitialEvents: flag(query, 'sendInitialEvents'),
  };
  if (options.sendInitialEvents !== undefined && options.resourceVersionMatch !== 'NotOlderThan') {
    throw new StatusError('Invalid', 'ListOptions is invalid: sendInitialEvents needs resourceVersionMatch=NotOlderThan', {
      causes: [{ reason: 'FieldValueForbidden', message: 'needs resourceVersionMatch=NotOlderThan', field: 'sendInitialEvents' }],
    });
  }
  return options;
}

export interface WriteQuery {
  readonly dryRun: boolean;
  /** Undefined when neither the query nor the User-Agent names one. */
  readonly fieldManager: string | undefined;
  /** The query names it, as server-side apply demands. */
  readonly fieldManagerGiven: boolean;
  readonly fieldValidation: 'Strict' | 'Warn' | 'Ignore' | undefined;
  readonly force: boolean;
}

const maxManagerLength = 128;

/** `kubectl/v1.32.0 (linux/amd64)` → `kubectl`. */
function managerFrom(userAgent: string | undefined): string | undefined {
  const name = (userAgent ?? '')
    .split('/', 1)[0]
    ?.replace(/[^\x20-\x7e]/g, '')
    .trim()
    .slice(0, maxManagerLength);
  return name === '' ? undefined : name;
}

export function dryRunOf(values: readonly string[]): boolean {
  const given = values.filter((value) => value !== '');
  const wrong = given.find((value) => value !== 'All');
  if (wrong !== undefined) throw invalid('dryRun', 'must be All');
  return given.length > 0;
}

export function writeQuery(query: URLSearchParams, userAgent: string | undefined): WriteQuery {
  const given = query.get('fieldManager') ?? '';
  if (given.length > maxManagerLength) throw invalid('fieldManager', `must have at most ${maxManagerLength} characters`);
  if (/[^\x20-\x7e]/.test(given)) throw invalid('fieldManager', 'must be of printable ASCII characters');
  return {
    dryRun: dryRunOf(query.getAll('dryRun')),
    fieldManager: given === '' ? managerFrom(userAgent) : given,
    fieldManagerGiven: given !== '',
    fieldValidation: oneOf(query, 'fieldValidation', ['Strict', 'Warn', 'Ignore']),
    force: flag(query, 'force') ?? false,
  };
}

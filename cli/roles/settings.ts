/** Settings of a role: flags beat the environment (FLOTILLA_*), which beats the settings file, which beats the defaults. */
import { existsSync, readFileSync } from 'node:fs';
import { z } from 'zod';
import { parseYaml } from '../../api/resources/yaml.js';
import { usageError } from '../exit.js';

const List = z.union([z.string().transform((text) => text.split(',').map((part) => part.trim())), z.array(z.string())]);
const Level = z.enum(['debug', 'info', 'warn', 'error']);

export const ServerSettings = z.strictObject({
  etcd: List.default(['http://127.0.0.1:2379']),
  etcdCaFile: z.string().optional(),
  etcdCertFile: z.string().optional(),
  etcdKeyFile: z.string().optional(),
  /** Default: the unix socket, unless systemd handed over sockets. */
  listen: List.optional(),
  advertise: List.optional(),
  insecureLoopback: z.stringbool().or(z.boolean()).default(false),
  pkiDir: z.string().default('/var/lib/flotilla/pki'),
  secretKeyFile: z.string().optional(),
  gitDir: z.string().default('/var/lib/flotilla/git'),
  gitFileRoot: List.default([]),
  logLevel: Level.default('info'),
});
export type ServerSettings = z.infer<typeof ServerSettings>;

export const AgentSettings = z.strictObject({
  server: List,
  token: z.string().optional(),
  tokenFile: z.string().optional(),
  metadata: z
    .union([z.string(), z.record(z.string(), z.string())])
    .default({})
    .transform((value, context) => (typeof value === 'string' ? parsePairs(value, context) : value)),
  bus: z.string().optional(),
  user: z.stringbool().or(z.boolean()).default(false),
  /** host:port, or off */
  metrics: z.string().default('127.0.0.1:7081'),
  stateDir: z.string().default('/var/lib/flotilla-agent'),
  logLevel: Level.default('info'),
});
export type AgentSettings = z.infer<typeof AgentSettings>;

function parsePairs(text: string, context: z.RefinementCtx): Record<string, string> {
  const pairs: Record<string, string> = {};
  for (const pair of text.split(',').filter((part) => part.trim() !== '')) {
    const equals = pair.indexOf('=');
    if (equals <= 0)
      context.addIssue({ code: 'custom', message: `"${pair}": expected key=value pairs separated by commas, as in region=eu,disk=ssd` });
    else pairs[pair.slice(0, equals).trim()] = pair.slice(equals + 1).trim();
  }
  return pairs;
}

/** Reads the settings of a role; a setting that cannot be used is one error that names where it came from. */
export function readSettings<Schema extends z.ZodObject>(
  schema: Schema,
  flags: Readonly<Record<string, unknown>>,
  configFile: string,
  isConfigRequired: boolean,
  env: NodeJS.ProcessEnv = process.env,
): z.infer<Schema> {
  const names = Object.keys(schema.shape);
  const fromFile = readConfig(configFile, isConfigRequired);
  const fromEnv: Record<string, unknown> = {};
  const fromFlags: Record<string, unknown> = {};
  for (const name of names) {
    const value = env[variable(name)];
    if (value !== undefined && value !== '') fromEnv[name] = value;
    const flag = flags[name];
    // A repeated flag that was never given is an empty list.
    if (flag !== undefined && !(Array.isArray(flag) && flag.length === 0)) fromFlags[name] = flag;
  }
  const parsed = schema.safeParse({ ...fromFile, ...fromEnv, ...fromFlags });
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const name = String(issue?.path[0] ?? (issue?.code === 'unrecognized_keys' ? issue.keys[0] : ''));
  const where =
    name in fromFlags
      ? `--${kebab(name)}`
      : name in fromEnv
        ? variable(name)
        : name in fromFile
          ? `${configFile}: ${name}`
          : `--${kebab(name)}`;
  const isMissing = !(name in fromFlags) && !(name in fromEnv) && !(name in fromFile);
  throw usageError(
    `${where}: ${isMissing ? `is needed (or ${variable(name)}, or "${name}" in ${configFile})` : (issue?.message ?? 'not usable')}`,
  );
}

function readConfig(file: string, isRequired: boolean): Record<string, unknown> {
  if (!existsSync(file)) {
    if (isRequired) throw usageError(`--config ${file}: no such file`);
    return {};
  }
  let value: unknown;
  try {
    value = parseYaml(readFileSync(file, 'utf8'));
  } catch (error) {
    throw usageError(`${file}: ${(error as Error).message}`);
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    throw usageError(`${file}: expected settings as "name: value" lines`);
  return value as Record<string, unknown>;
}

const kebab = (name: string) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
const variable = (name: string) => `FLOTILLA_${name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`;

/**
 * Who may do what: one small table, pure. Admins may do everything; a machine may keep its own stream, send journals that were asked for,
 * and renew its certificate; everybody may ask whether the server is well, and join with a token. What is not in the table is refused.
 */
import type { Decision, Identity, RequestAttributes } from './identity.js';

interface PathRule {
  readonly method: string;
  /** Exact, or with `/*` at the end: anything below. */
  readonly path: string;
}

const forEverybody: readonly PathRule[] = [
  { method: 'get', path: '/healthz' },
  { method: 'get', path: '/livez' },
  { method: 'get', path: '/readyz' },
  { method: 'get', path: '/version' },
  { method: 'post', path: '/agent/v1/join' },
];

// None of these takes a machine's name: each is about the machine that the certificate names.
const forMachines: readonly PathRule[] = [
  { method: 'get', path: '/agent/v1/stream' },
  { method: 'get', path: '/agent/v1/logs/*' },
  { method: 'post', path: '/agent/v1/renew' },
];

/** Only from this computer: whoever holds an admin certificate must not make it last for ever by issuing the next one. */
const certificatesForAdmins = 'kubeconfigs';

const allowed: Decision = { allowed: true };

export function authorize(identity: Identity, attributes: RequestAttributes): Decision {
  if ('path' in attributes && forEverybody.some((rule) => matches(rule, attributes))) return allowed;
  switch (identity.kind) {
    case 'admin':
      if ('resource' in attributes && attributes.resource === certificatesForAdmins && identity.via === 'certificate') {
        return refused(`${identity.name} came by certificate; client certificates are issued over the server's unix socket only`);
      }
      return allowed;
    case 'machine':
      if ('path' in attributes && forMachines.some((rule) => matches(rule, attributes))) return allowed;
      return refused(`machine ${identity.machine} may not ${wish(attributes)}: a machine has its own stream and nothing else`);
    case 'anonymous':
      return refused(`nobody may ${wish(attributes)} without a client certificate of this cluster`);
  }
}

const refused = (reason: string): Decision => ({ allowed: false, reason });

function matches(rule: PathRule, { path, method }: { readonly path: string; readonly method: string }): boolean {
  if (rule.method !== method.toLowerCase()) return false;
  return rule.path.endsWith('/*') ? path.startsWith(rule.path.slice(0, -1)) : path === rule.path;
}

function wish(attributes: RequestAttributes): string {
  if ('path' in attributes) return `${attributes.method.toLowerCase()} ${attributes.path}`;
  const { verb, resource, subresource, name } = attributes;
  return `${verb} ${resource}${subresource ? `/${subresource}` : ''}${name ? ` ${name}` : ''}`;
}

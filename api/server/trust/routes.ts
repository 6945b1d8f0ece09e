/** What an admin does about trust over HTTP: join tokens and kubeconfigs. Both are made, answered once, and cannot be read again. */
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Logger } from '../../../runtime/log.js';
import { StatusError } from '../../resources/errors.js';
import { identityName } from '../access.js';
import { bytesOf, parseJson } from '../body.js';
import { sendJson } from '../reads.js';
import type { Route } from '../routes.js';
import { maxAdminLifeMs, type Pki } from './ca.js';
import { renderKubeconfig } from './kubeconfig.js';
import { LabelKeys, type Tokens } from './tokens.js';

const maxBodyDepth = 5;
const dayMs = 86_400_000;

const NewToken = z.strictObject({
  labels: LabelKeys.optional(),
  machine: z
    .string()
    .regex(/^[0-9a-f]{32}$/, 'a machine id has 32 hexadecimal digits')
    .optional(),
});

const NewKubeconfig = z.strictObject({
  /** Common name of the certificate: who it is in logs. */
  name: z
    .string()
    .regex(
      /^(?!system:)[A-Za-z0-9][A-Za-z0-9@._:-]{0,63}$/,
      'expected a name of letters, digits and @._:- that does not begin with system:',
    )
    .default('admin'),
  server: z.url({ protocol: /^https$/ }).optional(),
  days: z
    .int()
    .positive()
    .max(maxAdminLifeMs / dayMs)
    .optional(),
});

export interface TrustRoutesOptions {
  readonly tokens: Tokens;
  readonly pki: Pick<Pki, 'issueAdmin' | 'caCertificate'>;
  /** https URLs of the servers, the preferred one first. */
  readonly urls: () => readonly string[];
  readonly log: Logger;
}

export function trustRoutes({ tokens, pki, urls, log }: TrustRoutesOptions): Route[] {
  return [
    {
      method: 'POST',
      path: '/apis/flotilla.dev/v1/tokens',
      audience: 'admin',
      attributes: () => ({ resource: 'tokens', verb: 'create' }),
      async handler(request: FastifyRequest, reply: FastifyReply) {
        const { labels, machine } = bodyAs(NewToken, request);
        const { token, expiresAt } = await tokens.create({ ...(labels && { labels }), ...(machine !== undefined && { machine }) });
        log.info('join token made', { by: identityName(request.identity), labels, machine });
        return sendJson(reply, 201, JSON.stringify({ token, expiresAt: expiresAt.toISOString() }));
      },
    },
    {
      method: 'POST',
      path: '/apis/flotilla.dev/v1/kubeconfigs',
      audience: 'admin',
      attributes: () => ({ resource: 'kubeconfigs', verb: 'create' }),
      async handler(request: FastifyRequest, reply: FastifyReply) {
        const { name, server = urls()[0], days } = bodyAs(NewKubeconfig, request);
        if (server === undefined) {
          throw new StatusError(
            'BadRequest',
            'this server has no https listener that a kubeconfig could name: start it with --listen https://ADDRESS:PORT',
          );
        }
        const issued = await pki.issueAdmin(name, days === undefined ? undefined : days * dayMs);
        log.info('admin certificate issued', { by: identityName(request.identity), name, days });
        return sendJson(reply, 201, JSON.stringify({ kubeconfig: renderKubeconfig({ name, server, ca: pki.caCertificate, ...issued }) }));
      },
    },
  ];
}

/** An empty body says nothing, which is as good as `{}`. Throws BadRequest. */
function bodyAs<T>(schema: z.ZodType<T>, request: FastifyRequest): T {
  const bytes = bytesOf(request);
  const result = schema.safeParse(bytes.length === 0 ? {} : parseJson(bytes, maxBodyDepth));
  if (result.success) return result.data;
  throw new StatusError('BadRequest', z.prettifyError(result.error));
}

/** A request's body in the shape that a fleet client must send. */
import type { FastifyRequest } from 'fastify';
import { type ZodType, z } from 'zod';
import { StatusError } from '../../resources/errors.js';
import { bytesOf, parseJson } from '../body.js';

const maxBodyDepth = 10;
/** A long list of complaints says no more than its beginning. */
const maxMessageLength = 500;

/** Throws BadRequest: `unable to decode body: …`. */
export function decodeBody<T>(schema: ZodType<T>, request: FastifyRequest): T {
  const result = schema.safeParse(json(request));
  if (result.success) return result.data;
  throw undecodable(z.prettifyError(result.error).replace(/\s*\n\s*/g, ' '));
}

function json(request: FastifyRequest): unknown {
  try {
    return parseJson(bytesOf(request), maxBodyDepth);
  } catch (error) {
    throw error instanceof StatusError ? undecodable(error.message) : error;
  }
}

const undecodable = (why: string): StatusError => new StatusError('BadRequest', `unable to decode body: ${why.slice(0, maxMessageLength)}`);

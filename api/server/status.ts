/** Every failure as a Kubernetes Status, whatever threw it. */
import { OutcomeUnknown, StoreUnavailable } from '../../runtime/store/store.js';
import { StatusError } from '../resources/errors.js';

const retrySoonSeconds = 1;

interface FrameworkError {
  readonly code: string;
  readonly statusCode: number;
  readonly message: string;
}

const isFrameworkError = (error: unknown): error is FrameworkError =>
  error instanceof Error &&
  'code' in error &&
  typeof error.code === 'string' &&
  error.code.startsWith('FST_') &&
  'statusCode' in error &&
  typeof error.statusCode === 'number';

function fromFramework(error: FrameworkError, maxBodyBytes: number): StatusError {
  switch (error.code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new StatusError('RequestEntityTooLarge', `the request body is larger than ${maxBodyBytes} bytes, the most this server reads`);
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new StatusError('UnsupportedMediaType', 'the Content-Type header names no media type');
    case 'FST_ERR_BAD_URL':
      return new StatusError('BadRequest', 'the URL holds a percent sign that is not followed by two hexadecimal digits');
    case 'FST_ERR_MAX_PARAM_LENGTH':
      return new StatusError('BadRequest', 'a part of the URL is longer than any name');
    default:
      return error.statusCode < 500
        ? new StatusError('BadRequest', error.message)
        : new StatusError('InternalError', 'the server failed; its log says how');
  }
}

/** What the client is told. `unforeseen` failures are ours: the client gets no details and the log gets all of them. */
export function statusOf(error: unknown, maxBodyBytes: number): { readonly status: StatusError; readonly unforeseen: boolean } {
  if (error instanceof StatusError) return { status: error, unforeseen: false };
  if (error instanceof StoreUnavailable) {
    const details = { retryAfterSeconds: retrySoonSeconds };
    return { status: new StatusError('ServiceUnavailable', `etcd cannot be reached: ${error.message}`, details), unforeseen: false };
  }
  if (error instanceof OutcomeUnknown) {
    const message = `etcd did not answer in time: the write may or may not have happened, repeating it is safe (${error.message})`;
    return { status: new StatusError('Timeout', message, { retryAfterSeconds: retrySoonSeconds }), unforeseen: false };
  }
  if (isFrameworkError(error)) {
    const status = fromFramework(error, maxBodyBytes);
    return { status, unforeseen: status.reason === 'InternalError' };
  }
  return { status: new StatusError('InternalError', 'the server failed; its log says how'), unforeseen: true };
}

/** Warnings are headers, and clients read only so many bytes of those. */
const maxWarningLength = 512;
const maxWarnings = 8;

/** `Warning` header values, as kubectl prints them. */
export function warningHeaders(warnings: readonly string[]): string[] {
  const left = warnings.length - maxWarnings;
  const shown = left > 0 ? [...warnings.slice(0, maxWarnings), `and ${left} more warnings`] : warnings;
  return shown.map((warning) => {
    const text = warning.length > maxWarningLength ? `${warning.slice(0, maxWarningLength)}...` : warning;
    return `299 - "${text.replace(/[^\x20-\x7e]/g, '?').replace(/["\\]/g, '\\$&')}"`;
  });
}

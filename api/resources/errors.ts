/** Errors that a client sees, in the shape of a Kubernetes Status: the same class on every way in. */

export interface StatusCause {
  readonly reason: string;
  readonly message: string;
  /** Path of the field, as `.spec.placement.conflicts[0]`, without the leading dot in `field`: `spec.placement.conflicts[0]`. */
  readonly field?: string;
}

export interface StatusDetails {
  readonly name?: string;
  readonly group?: string;
  readonly kind?: string;
  readonly uid?: string;
  readonly causes?: readonly StatusCause[];
  readonly retryAfterSeconds?: number;
}

export type StatusReason =
  | 'BadRequest'
  | 'Unauthorized'
  | 'Forbidden'
  | 'NotFound'
  | 'MethodNotAllowed'
  | 'NotAcceptable'
  | 'AlreadyExists'
  | 'Conflict'
  | 'Expired'
  | 'Invalid'
  | 'RequestEntityTooLarge'
  | 'UnsupportedMediaType'
  | 'TooManyRequests'
  | 'InternalError'
  | 'ServiceUnavailable'
  | 'Timeout';

const codes: Record<StatusReason, number> = {
  BadRequest: 400,
  Unauthorized: 401,
  Forbidden: 403,
  NotFound: 404,
  MethodNotAllowed: 405,
  NotAcceptable: 406,
  AlreadyExists: 409,
  Conflict: 409,
  Expired: 410,
  Invalid: 422,
  RequestEntityTooLarge: 413,
  UnsupportedMediaType: 415,
  TooManyRequests: 429,
  InternalError: 500,
  ServiceUnavailable: 503,
  Timeout: 504,
};

export class StatusError extends Error {
  override readonly name = 'StatusError';
  readonly code: number;

  constructor(
    readonly reason: StatusReason,
    message: string,
    readonly details: StatusDetails = {},
    /** Token with which a list that cannot go on as it was goes on with what is there now. */
    readonly continueWith?: string,
  ) {
    super(message);
    this.code = codes[reason];
  }

  /** The body of the HTTP answer. */
  toStatus() {
    return {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: this.continueWith === undefined ? {} : { continue: this.continueWith },
      status: 'Failure',
      message: this.message,
      reason: this.reason,
      details: this.details,
      code: this.code,
    } as const;
  }
}

/** One thing that is wrong with one field of an object. */
export interface FieldError {
  /** As `spec.placement.conflicts[0]`. */
  readonly field: string;
  /** What is wrong, what was expected, and the nearest valid name where there is one. */
  readonly message: string;
  /** Kubernetes' word for the cause of a Status. Default FieldValueInvalid. */
  readonly reason?: FieldErrorReason;
}

export type FieldErrorReason =
  | 'FieldValueInvalid'
  | 'FieldValueRequired'
  | 'FieldValueForbidden'
  | 'FieldValueNotSupported'
  | 'FieldValueDuplicate'
  | 'FieldValueTypeInvalid';

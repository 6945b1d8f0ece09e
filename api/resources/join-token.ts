/**
 * A join token as it is printed and typed: `flotilla-<secret>.<CA pin>`, both base64url. The secret lets one machine in, once; the pin is
 * the sha256 of the cluster's CA certificate (DER), so that the machine knows the server before it says the secret.
 */
export interface JoinToken {
  /** 256 random bits, base64url. */
  readonly secret: string;
  /** sha256 of the CA certificate in DER, base64url. */
  readonly caSha256: string;
}

// 32 bytes are 43 characters, the last of which holds only four bits: any other spelling would be a second name for the same secret.
const part = '[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]';
const pattern = new RegExp(`^flotilla-(${part})\\.(${part})$`);

export const formatJoinToken = ({ secret, caSha256 }: JoinToken): string => `flotilla-${secret}.${caSha256}`;

/** Undefined when the text is no join token. */
export function parseJoinToken(text: string): JoinToken | undefined {
  const [, secret, caSha256] = pattern.exec(text.trim()) ?? [];
  return secret === undefined || caSha256 === undefined ? undefined : { secret, caSha256 };
}

/**
 * The only door to @peculiar/x509: key pairs, signing requests and certificates, all ECDSA P-256 with SHA-256. Who may be given a
 * certificate, and what it means, is decided by the callers.
 */
import './reflect.js';
import { createHash, createPrivateKey, createPublicKey, KeyObject, randomBytes, webcrypto, X509Certificate } from 'node:crypto';
import * as x509 from '@peculiar/x509';

export type KeyPair = webcrypto.CryptoKeyPair;
export type PublicKey = webcrypto.CryptoKey;

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;

/** What was handed in is not what it should be: the message says what, in words for people. */
export class CertificateError extends Error {
  override readonly name = 'CertificateError';
}

export const generateKeyPair = (): Promise<KeyPair> => webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);

/** PKCS#8 PEM. */
export async function privateKeyPem(keys: KeyPair): Promise<string> {
  const der = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' })
    .export({ format: 'pem', type: 'pkcs8' })
    .toString();
}

/** Reads a private key in PEM. Throws CertificateError when it is no P-256 key. */
export async function readKeyPair(pem: string): Promise<KeyPair> {
  try {
    const key = createPrivateKey(pem);
    const pkcs8 = key.export({ format: 'der', type: 'pkcs8' });
    const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
    return {
      privateKey: await webcrypto.subtle.importKey('pkcs8', pkcs8, algorithm, true, ['sign']),
      publicKey: await webcrypto.subtle.importKey('spki', spki, algorithm, true, ['verify']),
    };
  } catch (error) {
    throw new CertificateError('this is not an ECDSA P-256 private key in PEM', { cause: error });
  }
}

/** A signing request in PEM. Who the certificate will name is for the signer to say; `commonName` only helps people who look at it. */
export async function createRequest(keys: KeyPair, commonName: string): Promise<string> {
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: [commonName] }],
    keys,
    signingAlgorithm: algorithm,
  });
  return request.toString('pem');
}

/**
 * The public key of a signing request, once its signature has shown that the sender holds the private one. Everything else in it is
 * ignored. Throws CertificateError.
 */
export async function readRequest(pem: string): Promise<PublicKey> {
  try {
    const request = new x509.Pkcs10CertificateRequest(pem);
    const key = await request.publicKey.export(algorithm, ['verify']);
    if (!(await request.verify())) throw new CertificateError('its signature does not match its key');
    return key;
  } catch (error) {
    throw new CertificateError('this is not a signed certificate request with an ECDSA P-256 key', { cause: error });
  }
}

/** Hex sha256 over the public key (SubjectPublicKeyInfo, DER): names a key pair. */
export const publicKeySha256 = async (key: PublicKey): Promise<string> =>
  createHash('sha256')
    .update(Buffer.from(await webcrypto.subtle.exportKey('spki', key)))
    .digest('hex');

export interface CertificateContent {
  readonly commonName: string;
  readonly organization?: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly publicKey: PublicKey;
  /** A CA may sign leaves and no further CA; a leaf is for servers, clients or both. */
  readonly usage: 'ca' | readonly ('server' | 'client')[];
  readonly dnsNames?: readonly string[];
  readonly addresses?: readonly string[];
  readonly uris?: readonly string[];
}

/** Who signs: for a CA's own certificate, its key alone. */
export interface Signer {
  readonly privateKey: webcrypto.CryptoKey;
  readonly publicKey: PublicKey;
  readonly commonName: string;
}

/** The signer that a CA's certificate and private key make together; undefined when they do not belong together. */
export async function openSigner(certificatePem: string, keys: KeyPair): Promise<Signer | undefined> {
  const certificate = new X509Certificate(certificatePem);
  if (!certificate.checkPrivateKey(KeyObject.from(keys.privateKey))) return undefined;
  return { ...keys, commonName: certificate.toLegacyObject().subject.CN };
}

/** Signs a certificate; PEM. */
export async function issueCertificate(content: CertificateContent, signer: Signer): Promise<string> {
  const { KeyUsageFlags, ExtendedKeyUsage } = x509;
  const isCa = content.usage === 'ca';
  const purposes =
    content.usage === 'ca' ? [] : content.usage.map((use) => ExtendedKeyUsage[use === 'server' ? 'serverAuth' : 'clientAuth']);
  const names: x509.JsonGeneralNames = [
    ...(content.dnsNames ?? []).map((value) => ({ type: 'dns' as const, value })),
    ...(content.addresses ?? []).map((value) => ({ type: 'ip' as const, value })),
    ...(content.uris ?? []).map((value) => ({ type: 'url' as const, value })),
  ];
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: [...(content.organization === undefined ? [] : [{ O: [content.organization] }]), { CN: [content.commonName] }],
    issuer: [{ CN: [signer.commonName] }],
    notBefore: content.notBefore,
    notAfter: content.notAfter,
    signingAlgorithm: algorithm,
    publicKey: content.publicKey,
    signingKey: signer.privateKey,
    extensions: [
      new x509.BasicConstraintsExtension(isCa, isCa ? 0 : undefined, true),
      new x509.KeyUsagesExtension(isCa ? KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign : KeyUsageFlags.digitalSignature, true),
      ...(purposes.length ? [new x509.ExtendedKeyUsageExtension(purposes)] : []),
      ...(names.length ? [new x509.SubjectAlternativeNameExtension(names)] : []),
      await x509.SubjectKeyIdentifierExtension.create(content.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(signer.publicKey),
    ],
  });
  return certificate.toString('pem');
}

/** 127 random bits, never zero and never negative, as RFC 5280 wants it. */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = (bytes[0]! & 0x3f) | 0x40;
  return bytes.toString('hex');
}

/** sha256 over the DER form of the first certificate in the PEM text: what a join token pins. */
export const certificateSha256 = (pem: string): Buffer => createHash('sha256').update(new X509Certificate(pem).raw).digest();

/** What a client certificate says of its holder. Only our own CA's certificates are ever read this way. */
import type { PeerCertificate } from 'node:tls';

export const adminOrganization = 'flotilla:admins';
export const machineOrganization = 'flotilla:machines';

export const machineCommonName = (id: string): string => `system:machine:${id}`;

/** Names the Machine object by its uid too: a machine that was deleted and joins again is another one (SEMANTICS 24). */
export const machineUri = ({ id, uid }: { readonly id: string; readonly uid: string }): string => `urn:flotilla:machine:${id}:${uid}`;

export type CertificateHolder =
  | { readonly kind: 'admin'; readonly name: string }
  | { readonly kind: 'machine'; readonly machine: string; readonly uid: string };

const machineSan = /^URI:urn:flotilla:machine:([0-9a-f]{32}):([A-Za-z0-9-]{1,64})$/;

/** Undefined when the certificate is for nothing that we know. */
export function certificateHolder({
  subject,
  subjectaltname,
}: Pick<PeerCertificate, 'subject' | 'subjectaltname'>): CertificateHolder | undefined {
  if (typeof subject?.CN !== 'string') return undefined;
  if (subject.O === adminOrganization) return { kind: 'admin', name: subject.CN };
  if (subject.O !== machineOrganization) return undefined;
  const [, machine, uid] = machineSan.exec(subjectaltname ?? '') ?? [];
  if (machine === undefined || uid === undefined || subject.CN !== machineCommonName(machine)) return undefined;
  return { kind: 'machine', machine, uid };
}

/** core/v1 namespaces and services: what clients of Kubernetes ask for, and nothing changes. */
import { derivedUid } from '../../objects/join.js';
import type { Joined } from '../../objects/ports.js';
import { objectVersion } from '../../objects/resource-version.js';
import type { FlotillaObject } from '../../resources/meta.js';
import { humanAge } from '../../resources/table.js';
import { column, coreKind, defaultNamespace } from './kind.js';
import type { FixedKind } from './projection.js';
import { namespaceSchema, serviceSchema } from './schemas.js';

export const namespaceKind = coreKind({
  schema: namespaceSchema,
  kind: 'Namespace',
  plural: 'namespaces',
  singular: 'namespace',
  shortNames: ['ns'],
  namespaced: false,
  description: 'There is one, for clients that must have one: the objects of Flotilla belong to none.',
  columns: [
    column('Name', 'Its name.', ({ metadata }) => metadata.name),
    column('Status', 'Active.', (object) => (object as FlotillaObject<unknown, { phase: string }>).status?.phase ?? null),
    column('Age', 'Time since the cluster was made, which nobody has noted.', ({ metadata }, now) =>
      humanAge(metadata.creationTimestamp, now),
    ),
  ],
});

export const serviceKind = coreKind({
  schema: serviceSchema,
  kind: 'Service',
  plural: 'services',
  singular: 'service',
  shortNames: ['svc'],
  namespaced: true,
  description: 'There are none: a unit is reached at the address of its machine.',
  columns: [
    column('Name', 'Its name.', ({ metadata }) => metadata.name),
    column('Age', 'Time since it was created.', ({ metadata }, now) => humanAge(metadata.creationTimestamp, now)),
  ],
});

export const fixedKinds = (clusterUid: string): readonly FixedKind[] => [
  { kind: namespaceKind, objects: [namespace(clusterUid)] },
  { kind: serviceKind, objects: [] },
];

const namespace = (clusterUid: string): Joined => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: {
    name: defaultNamespace,
    uid: derivedUid(`${clusterUid}/${defaultNamespace}`),
    // Older than everything that a client can have seen.
    resourceVersion: objectVersion(1),
    labels: { 'kubernetes.io/metadata.name': defaultNamespace },
  },
  spec: { finalizers: ['kubernetes'] },
  status: { phase: 'Active' },
});

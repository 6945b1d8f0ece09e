import assert from 'node:assert/strict';
import { test } from 'node:test';
import { apiVersionOf, kinds } from '../../api/resources/registry.js';
import { componentKind } from '../../api/server/components.js';
import { knownKinds } from '../../cli/known-kinds.js';

test("the client's table of kinds is the server's", () => {
  const served = [...kinds, componentKind].map((kind) => ({
    kind: kind.kind,
    plural: kind.plural,
    singular: kind.singular,
    shortNames: kind.shortNames,
    path: `/${kind.group === '' ? 'api' : 'apis'}/${apiVersionOf(kind)}/${kind.plural}`,
  }));
  const byKind = (a: { kind: string }, b: { kind: string }) => (a.kind < b.kind ? -1 : 1);
  assert.deepEqual([...knownKinds].sort(byKind), served.sort(byKind));
});

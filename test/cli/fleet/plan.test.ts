/** What submit, load and start do with one unit, as a table: what is in the cluster, what lies here, and the one write that comes of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WireObject } from '../../../cli/objects.js';
import { type BringingVerb, type Found, planUnit } from '../../../cli/verbs/fleet/plan.js';
import type { Candidate } from '../../../cli/verbs/fleet/unit-texts.js';

const [one, two] = ['one', 'two'].map((word) => `[Service]\nExecStart=/bin/${word}\n`) as [string, string];
const name = 'web@1.service';

const unit = (desiredState: string, content: string | undefined = one, ready?: [status: string, reason: string]): WireObject => ({
  apiVersion: 'flotilla.dev/v1',
  kind: 'Unit',
  metadata: { name, generation: 1 },
  spec: { desiredState, ...(content === '' ? {} : { content }) },
  status: {
    machine: 'a'.repeat(32),
    conditions: ready ? [{ type: 'Ready', status: ready[0], reason: ready[1], message: 'so it is.', lastTransitionTime: '' }] : [],
  },
});
const template = (content: string): WireObject => ({ ...unit('inactive', content), metadata: { name: 'web@.service' } });
const file = (text: string): Candidate => ({ text, from: 'web@1.service', kind: 'file' });
const beside = (text: string): Candidate => ({ text, from: 'web@.service', kind: 'template file' });

const cases: readonly {
  readonly name: string;
  readonly verb?: BringingVerb;
  readonly found?: Partial<Found>;
  readonly replace?: boolean;
  /** What is done, with the spec that is written or the reason. */
  readonly does: string;
  readonly spec?: unknown;
  readonly says?: RegExp;
}[] = [
  { name: 'nothing anywhere', does: 'refuse', says: /unable to find Unit\(web@1\.service\) in Registry or on filesystem/ },
  { name: 'a file here', found: { local: file(one) }, does: 'create', spec: { desiredState: 'launched', content: one } },
  { name: 'loaded only', verb: 'load', found: { local: file(one) }, does: 'create', spec: { desiredState: 'loaded', content: one } },
  { name: 'submitted only', verb: 'submit', found: { local: file(one) }, does: 'create', spec: { desiredState: 'inactive', content: one } },
  {
    name: 'a template is known, whatever the verb',
    found: { name: 'web@.service', local: file(one) },
    does: 'create',
    spec: { desiredState: 'inactive', content: one },
  },
  {
    name: "an instance's own file comes before its template",
    found: { local: file(two), template: template(one) },
    does: 'create',
    spec: { desiredState: 'launched', content: two },
  },
  {
    name: "the cluster's template comes before the one that lies here, and that is said",
    found: { local: beside(two), template: template(one) },
    does: 'create',
    spec: { desiredState: 'launched', content: one },
    says: /^WARNING: Unit web@\.service in registry differs from local template unit file web@\.service\./,
  },
  {
    name: 'unless the one here is to replace',
    found: { local: beside(two), template: template(one) },
    replace: true,
    does: 'create',
    spec: { desiredState: 'launched', content: two },
  },
  { name: 'the template beside it', found: { local: beside(two) }, does: 'create', spec: { desiredState: 'launched', content: two } },
  { name: 'there and launched', found: { unit: unit('launched') }, does: 'nothing' },
  { name: 'there and loaded', found: { unit: unit('loaded') }, does: 'patch', spec: { desiredState: 'launched' } },
  { name: 'load of what is launched', verb: 'load', found: { unit: unit('launched') }, does: 'patch', spec: { desiredState: 'loaded' } },
  { name: 'submit of what is launched', verb: 'submit', found: { unit: unit('launched') }, does: 'nothing' },
  {
    name: 'another file here',
    found: { unit: unit('launched'), local: file(two) },
    does: 'nothing',
    says: /^WARNING: Unit web@1\.service in registry differs from local unit file web@1\.service\. Add --replace to override\.$/,
  },
  { name: 'only comments differ', found: { unit: unit('launched'), local: file(`# ours\n${one}`) }, does: 'nothing' },
  {
    name: 'follows its template, which is the same as here',
    found: { unit: unit('launched', ''), template: template(one), local: beside(one) },
    does: 'nothing',
  },
  {
    name: 'replaced in place: text and state in one write',
    found: { unit: unit('loaded'), local: file(two) },
    replace: true,
    does: 'patch',
    spec: { desiredState: 'launched', content: two, sections: null },
  },
  {
    name: 'replaced while it runs',
    found: { unit: unit('launched'), local: file(two) },
    replace: true,
    does: 'patch',
    spec: { content: two, sections: null },
  },
  {
    name: 'replaced by the same',
    found: { unit: unit('launched'), local: file(one) },
    replace: true,
    does: 'nothing',
    says: /^Found same Unit\(web@1\.service\) in Registry, nothing to do$/,
  },
  {
    name: 'replaced by nothing',
    found: { unit: unit('launched') },
    replace: true,
    does: 'refuse',
    says: /--replace needs the unit file of web@1\.service/,
  },
  {
    name: 'submit does not touch what runs',
    verb: 'submit',
    found: { unit: unit('launched'), local: file(two) },
    replace: true,
    does: 'refuse',
    says: /in state 'launched', use the appropriate command: start --replace/,
  },
  ...['Failed', 'Ended', 'LoadFailed'].map((reason) => ({
    name: `wanted launched, and ${reason}`,
    found: { unit: unit('launched', one, ['False', reason]) },
    does: 'start again',
  })),
  { name: 'a oneshot that is done', found: { unit: unit('launched', one, ['True', 'Completed']) }, does: 'nothing' },
  { name: 'still starting', found: { unit: unit('launched', one, ['False', 'Activating']) }, does: 'nothing' },
  { name: 'load of what has failed', verb: 'load', found: { unit: unit('loaded', one, ['False', 'Failed']) }, does: 'nothing' },
  { name: 'a global unit that failed somewhere', found: { unit: unit('launched'), failedOn: ['m2'] }, does: 'start again' },
];

for (const { name: title, verb = 'start', found = {}, replace = false, does, spec, says } of cases) {
  test(`${verb}: ${title}`, () => {
    const { change, warning, note } = planUnit({ name, unit: undefined, template: undefined, local: undefined, ...found }, verb, replace);
    assert.equal(change.do, does);
    assert.deepEqual('spec' in change ? change.spec : undefined, spec);
    const said = [warning, note, change.do === 'refuse' ? change.why : undefined].filter((text) => text !== undefined);
    if (says) assert.match(said.join('\n'), says);
    else assert.deepEqual(said, []);
  });
}

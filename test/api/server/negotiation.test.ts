import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StatusError } from '../../../api/resources/errors.js';
import { mediaType, negotiate, patchType } from '../../../api/server/negotiation.js';

const kubectlTable = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json';

for (const { name, accept, form } of [
  { name: 'no header means JSON', accept: undefined, form: 'object' },
  { name: 'an empty header means JSON', accept: '', form: 'object' },
  { name: 'a browser gets JSON', accept: 'text/html,application/xhtml+xml,*/*;q=0.8', form: 'object' },
  { name: 'kubectl get', accept: kubectlTable, form: 'table v1' },
  { name: 'an old kubectl', accept: 'application/json;as=Table;v=v1beta1;g=meta.k8s.io', form: 'table v1beta1' },
  { name: 'a typed client, which prefers protobuf', accept: 'application/vnd.kubernetes.protobuf,application/json', form: 'object' },
  { name: 'a metadata informer', accept: 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1', form: 'metadata v1' },
  { name: 'one object as metadata', accept: 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1', form: 'metadata v1' },
  { name: 'quality decides before order', accept: `application/json;q=0.5,${kubectlTable.split(',')[0]}`, form: 'table v1' },
  { name: 'what nobody knows is passed over', accept: 'application/json;as=Chart;v=v1;g=meta.k8s.io,application/json', form: 'object' },
]) {
  test(`negotiate: ${name}`, () => {
    const as = negotiate(accept, 'Metadata');
    assert.equal(as.form === 'object' ? 'object' : `${as.form} ${as.version}`, form);
  });
}

for (const accept of [
  'text/html',
  'application/vnd.kubernetes.protobuf',
  'application/json;as=Chart;v=v1;g=meta.k8s.io',
  'application/json;q=0',
]) {
  test(`negotiate: 406 for ${accept}`, () =>
    assert.throws(
      () => negotiate(accept, 'Metadata'),
      (error) => error instanceof StatusError && error.code === 406,
    ));
}

for (const { contentType, type } of [
  { contentType: 'application/merge-patch+json', type: 'merge' },
  { contentType: 'application/Strategic-Merge-Patch+json; charset=utf-8', type: 'merge' },
  { contentType: 'application/json-patch+json', type: 'json' },
  { contentType: 'application/apply-patch+yaml', type: 'apply' },
]) {
  test(`patchType: ${contentType} is ${type}`, () => assert.equal(patchType(contentType), type));
}

for (const contentType of [undefined, '', 'application/json', 'text/plain', 'constructor', '__proto__']) {
  test(`patchType: 415 for ${contentType}`, () =>
    assert.throws(
      () => patchType(contentType),
      (error) => error instanceof StatusError && error.code === 415,
    ));
}

test('mediaType: parameters and case count for nothing', () =>
  assert.equal(mediaType('Application/JSON; charset=utf-8'), 'application/json'));

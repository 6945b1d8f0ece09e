/** A batch of writes as one etcd transaction, and its answer. */
import { CompareResult, CompareTarget, type ICompare, type IRequestOp, type ITxnRequest, type ITxnResponse } from 'etcd3';
import { revisionOf } from './etcd-client.js';
import { entryOf } from './etcd-watch.js';
import type { BatchAnswer, Item } from './group-commit.js';
import { CHARGE, deletionMark, SEAL } from './reserved-keys.js';
import type { Compare, Entry, Fence, WriteOutcome } from './store.js';
import { withWriteId } from './write-id.js';

/** How many of etcd's `--max-txn-ops` the item's own nested transaction takes. */
export const breadthOf = ({ write }: Item): number =>
  Math.max(write.compares.length, write.operations.length + (onlyDeletes(write.operations) ? 1 : 0));

const onlyDeletes = (operations: Item['write']['operations']): boolean => operations.every((operation) => operation.do === 'delete');

/**
 * Outer compares: the fence and the seal. One nested transaction per write, with its own compares; when they fail it reads the keys
 * that it compared. etcd evaluates all nested compares before it applies anything.
 */
export function encodeBatch(items: readonly Item[], fence: Fence | undefined, seal: number): ITxnRequest {
  return {
    compare: [
      ...(fence ? [encodeCompare({ key: fence.key, createRevision: fence.createRevision })] : []),
      encodeCompare({ key: SEAL, modRevision: seal }),
    ],
    success: [
      ...items.map((item, slot) => ({
        request_txn: {
          compare: item.write.compares.map(encodeCompare),
          success: encodeOperations(item, slot),
          failure: comparedKeys(item).map(readKey),
        },
      })),
      // Deletions must get through a full quota, to make room.
      ...(items.every(({ write }) => onlyDeletes(write.operations)) ? [] : [{ request_put: { key: Buffer.from(CHARGE) } }]),
    ],
    failure: [...(fence ? [readKey(fence.key)] : []), readKey(SEAL)],
  };
}

export function decodeBatch(answer: ITxnResponse, items: readonly Item[], fence: Fence | undefined): BatchAnswer {
  const revision = revisionOf(answer.header.revision);
  if (!answer.succeeded) {
    const [seal, leader] = answer.responses.map((response) => response.response_range.kvs[0]).reverse();
    if (fence && revisionOf(leader?.create_revision ?? '0') !== fence.createRevision) return { kind: 'fenced' };
    return { kind: 'sealed off', seal: revisionOf(seal?.mod_revision ?? '0') };
  }
  return { kind: 'done', outcomes: items.map((item, i) => outcomeOf(item, answer.responses[i]?.response_txn, revision)) };
}

function outcomeOf(item: Item, nested: ITxnResponse | undefined, revision: number): WriteOutcome {
  if (!nested) throw new Error('etcd answered fewer nested transactions than were sent');
  if (nested.succeeded) return { ok: true, revision };
  const current = new Map<string, Entry | undefined>();
  comparedKeys(item).forEach((key, i) => {
    const kv = nested.responses[i]?.response_range.kvs[0];
    current.set(key, kv && entryOf(kv));
  });
  return { ok: false, revision, current };
}

/** Replaces the seal that had revision `seal`, unless somebody has done it already; either way that revision is history. */
export function encodeSealing(seal: number, id: string): ITxnRequest {
  const compare = [encodeCompare({ key: SEAL, modRevision: seal })];
  const put = { request_put: { key: Buffer.from(SEAL), value: withWriteId(id, '') } };
  // Nested, so that it is possible on a full quota too.
  return { success: [{ request_txn: { compare, success: [put], failure: [readKey(SEAL)] } }] };
}

/** The seal's revision, and the revision up to which the history tells the fate of everything that it shut out. */
export function decodeSealing(answer: ITxnResponse): { seal: number; revision: number } {
  const revision = revisionOf(answer.header.revision);
  const nested = answer.responses[0]?.response_txn;
  if (nested?.succeeded) return { seal: revision, revision };
  return { seal: revisionOf(nested?.responses[0]?.response_range.kvs[0]?.mod_revision ?? '0'), revision };
}

const comparedKeys = ({ write }: Item): string[] => [...new Set(write.compares.map((compare) => compare.key))];

const readKey = (key: string): IRequestOp => ({ request_range: { key: Buffer.from(key) } });

function encodeOperations({ write, id }: Item, slot: number): IRequestOp[] {
  const operations = write.operations.map((operation): IRequestOp => {
    const key = Buffer.from(operation.key);
    if (operation.do === 'delete') return { request_delete_range: { key } };
    return { request_put: { key, value: withWriteId(id, operation.value), ...(operation.lease && { lease: operation.lease }) } };
  });
  if (onlyDeletes(write.operations)) {
    operations.push({ request_put: { key: Buffer.from(deletionMark(slot)), value: withWriteId(id, '') } });
  }
  return operations;
}

function encodeCompare(compare: Compare): ICompare {
  const key = Buffer.from(compare.key);
  if ('createRevision' in compare) {
    return { key, target: CompareTarget.Create, result: CompareResult.Equal, create_revision: compare.createRevision };
  }
  if ('modRevision' in compare) {
    return { key, target: CompareTarget.Mod, result: CompareResult.Equal, mod_revision: compare.modRevision };
  }
  return { key, target: CompareTarget.Mod, result: CompareResult.Less, mod_revision: compare.maxModRevision + 1 };
}

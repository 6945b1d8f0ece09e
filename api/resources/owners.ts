/** Whom an object belongs to. */
import type { ObjectMeta, OwnerReference } from './meta.js';

/** The one owner that manages it, if it has one. */
export const controllerOf = ({ ownerReferences }: Pick<ObjectMeta, 'ownerReferences'>): OwnerReference | undefined =>
  ownerReferences?.find(({ controller }) => controller === true);

/** A field's path as errors write it: `spec.placement.conflicts[0]`, `metadata.labels["app.kubernetes.io/name"]`. */
export function fieldPath(path: readonly PropertyKey[]): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else if (/^[A-Za-z_][A-Za-z0-9_-]*$/.test(String(part))) text += text === '' ? String(part) : `.${String(part)}`;
    else text += `[${JSON.stringify(String(part).slice(0, 128))}]`;
  }
  return text;
}

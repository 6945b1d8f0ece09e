/** Fields that a JSON text gives twice. The parser keeps the last one and says nothing; whoever wrote them meant one thing or the other. */
import { fieldPath } from '../resources/field-path.js';

/** An object that is open where the scan is, with the names that it had so far; or an array, with the index of its item. */
type Open = { readonly names: Set<string>; at: string } | { readonly names: undefined; at: number };

const maxFound = 20;

/**
 * @param json a text that is known to be JSON
 * @returns paths such as `spec.placement.global`, each once, at most 20
 */
export function repeatedFields(json: string): string[] {
  const found = new Set<string>();
  const open: Open[] = [];
  for (let at = 0; at < json.length && found.size < maxFound; at++) {
    const inside = open.at(-1);
    switch (json[at]) {
      case '{':
        open.push({ names: new Set(), at: '' });
        break;
      case '[':
        open.push({ names: undefined, at: 0 });
        break;
      case '}':
      case ']':
        open.pop();
        break;
      case ',':
        if (inside !== undefined && inside.names === undefined) inside.at++;
        break;
      case '"': {
        const end = endOfString(json, at);
        if (inside?.names !== undefined && isNameBefore(json, end)) {
          inside.at = JSON.parse(json.slice(at, end + 1)) as string;
          if (inside.names.has(inside.at)) found.add(fieldPath(open.map((each) => each.at)));
          inside.names.add(inside.at);
        }
        at = end;
      }
    }
  }
  return [...found];
}

/** Index of the quote that ends the string which begins at `start`. */
function endOfString(json: string, start: number): number {
  for (let end = json.indexOf('"', start + 1); ; end = json.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (json[end - 1 - backslashes] === '\\') backslashes++;
    if (backslashes % 2 === 0) return end;
  }
}

/** Of the strings in an object only its names are followed by a colon. */
function isNameBefore(json: string, end: number): boolean {
  let next = end + 1;
  while (json[next] === ' ' || json[next] === '\n' || json[next] === '\t' || json[next] === '\r') next++;
  return json[next] === ':';
}

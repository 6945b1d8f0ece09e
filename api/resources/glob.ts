/** Globs of unit names, with the meaning of Go's path.Match, which fleet uses. */

type Token = { readonly kind: 'star' } | { readonly kind: 'one'; readonly matches: (char: string) => boolean };

/** The pattern's tokens; undefined when it is malformed (an unclosed or empty class, a backslash at the end). */
function compile(pattern: string): Token[] | undefined {
  const chars = [...pattern];
  const tokens: Token[] = [];
  let at = 0;
  while (at < chars.length) {
    const char = chars[at]!;
    at++;
    if (char === '*') {
      // Stars in a row are one: they would only cost time.
      if (tokens.at(-1)?.kind !== 'star') tokens.push({ kind: 'star' });
    } else if (char === '?') {
      tokens.push({ kind: 'one', matches: (other) => other !== '/' });
    } else if (char === '[') {
      const parsed = compileClass(chars, at);
      if (parsed === undefined) return undefined;
      at = parsed.end;
      tokens.push({ kind: 'one', matches: parsed.matches });
    } else {
      const literal = char === '\\' ? chars[at++] : char;
      if (literal === undefined) return undefined;
      tokens.push({ kind: 'one', matches: (other) => other === literal });
    }
  }
  return tokens;
}

/** What stands between `[` and `]`: single characters and ranges, `^` first for "none of these". */
function compileClass(chars: readonly string[], start: number): { matches: (char: string) => boolean; end: number } | undefined {
  let at = start;
  const negated = chars[at] === '^';
  if (negated) at++;
  const ranges: { readonly low: number; readonly high: number }[] = [];
  const bound = (): number | undefined => {
    const char = chars[at];
    if (char === undefined || char === '-' || char === ']') return undefined;
    at++;
    const literal = char === '\\' ? chars[at++] : char;
    return literal?.codePointAt(0);
  };
  while (chars[at] !== ']' || ranges.length === 0) {
    const low = bound();
    if (low === undefined) return undefined;
    let high = low;
    if (chars[at] === '-') {
      at++;
      const end = bound();
      if (end === undefined) return undefined;
      high = end;
    }
    ranges.push({ low, high });
  }
  return {
    matches: (char) => {
      const code = char.codePointAt(0)!;
      return ranges.some(({ low, high }) => low <= code && code <= high) !== negated;
    },
    end: at + 1,
  };
}

/** A pattern made ready for many names; undefined when it is malformed. Keep it: making it costs more than using it. */
export function globMatcher(pattern: string): ((name: string) => boolean) | undefined {
  const tokens = compile(pattern);
  if (tokens === undefined) return undefined;
  const literal = literalOf(pattern);
  return literal === undefined ? (name) => walk(tokens, [...name]) : (name) => name === literal;
}

/** The only name that a pattern without special characters matches. */
const literalOf = (pattern: string): string | undefined => (/[*?[\\]/.test(pattern) ? undefined : pattern);

/**
 * Only the last star is ever tried again, further on: what an earlier one took is always as good as anything longer. So the time is at
 * most pattern × name, never exponential.
 */
function walk(tokens: readonly Token[], name: readonly string[]): boolean {
  let token = 0;
  let at = 0;
  let star = -1;
  let starAt = 0;
  while (at < name.length) {
    const current = tokens[token];
    if (current?.kind === 'star') {
      star = token++;
      starAt = at;
    } else if (current?.kind === 'one' && current.matches(name[at]!)) {
      token++;
      at++;
    } else if (star >= 0 && name[starAt] !== '/') {
      token = star + 1;
      at = ++starAt;
    } else {
      return false;
    }
  }
  while (tokens[token]?.kind === 'star') token++;
  return token === tokens.length;
}

/** Whether the name matches the pattern; a malformed pattern matches nothing. */
export const globMatch = (pattern: string, name: string): boolean => globMatcher(pattern)?.(name) ?? false;

/** Durations as people type them: 30s, 5m, 1h30m, 500ms, or plain seconds. */
import { usageError } from './exit.js';

const unitsMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

export function durationMs(flag: string, text: string): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1_000;
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)];
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== text)
    throw usageError(`${flag}=${text}: expected a duration such as 30s, 5m or 1h30m`);
  return parts.reduce((sum, [, amount, unit]) => sum + Number(amount) * (unitsMs[unit ?? 's'] ?? 0), 0);
}

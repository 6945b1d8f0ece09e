/** Ranges of versions over tags, and the only door to semver. */
import semver from 'semver';

/** What is wrong with the range; undefined when nothing is. */
export const rangeProblem = (range: string): string | undefined =>
  semver.validRange(range) === null ? 'is no range of versions; expected one as in ">=1.2 <2" or "1.x"' : undefined;

/** The tag of the highest version in the range; a `v` in front of a tag counts for nothing. Undefined when none is in it. */
export function highestInRange(tags: Iterable<string>, range: string): string | undefined {
  let best: { tag: string; version: semver.SemVer } | undefined;
  for (const tag of tags) {
    const version = semver.parse(tag);
    if (version === null || !semver.satisfies(version, range)) continue;
    if (best === undefined || semver.compareBuild(version, best.version) > 0) best = { tag, version };
  }
  return best?.tag;
}

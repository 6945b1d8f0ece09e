/** `.syncignore`: what of a repository is no manifest, in the syntax of .gitignore. The only door to the package `ignore`. */
import ignore from 'ignore';

export const ignoreFileName = '.syncignore';

/** Whether a path is left out: hidden files and directories always are. */
export function ignoredBy(text: string): (path: string) => boolean {
  const rules = ignore().add(text);
  return (path) => path.split('/').some((step) => step.startsWith('.')) || rules.ignores(path);
}

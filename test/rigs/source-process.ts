/** Command lines that run a source file of ours in a process of its own: as `npm test` has bundled it, or by tsx when a file is run by hand. */
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const top = resolve(dirname(fileURLToPath(import.meta.url)), '../..');
const bundles = process.env.FLOTILLA_TEST_BUNDLES;

function bundleOf(source: string): string | undefined {
  if (bundles === undefined) return undefined;
  const bundle = join(bundles, source.replace(/\.ts$/, '.mjs'));
  if (!existsSync(bundle)) throw new Error(`${source} is not among the bundles: scripts/build-tests.mjs lists what tests start`);
  return bundle;
}

/** Flags for node, and the file that runs `source`, such as `cli/main.ts`. */
export function sourceProcess(source: string): { readonly execArgv: readonly string[]; readonly file: string } {
  const file = bundleOf(source);
  return file === undefined ? { execArgv: ['--import', 'tsx'], file: join(top, source) } : { execArgv: ['--enable-source-maps'], file };
}

/** The same as one list of arguments for node. */
export const sourceArgs = (source: string): readonly string[] => {
  const { execArgv, file } = sourceProcess(source);
  return [...execArgv, file];
};

/** For a script that imports `source`. */
export const sourceUrl = (source: string): string => pathToFileURL(sourceProcess(source).file).href;

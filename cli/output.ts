/** stdout is data, stderr is talk. */
import type pc from 'picocolors';

export const print = (text: string): void => {
  process.stdout.write(text);
};

export const printLine = (text: string): void => print(`${text}\n`);

export const say = (sentence: string): void => {
  process.stderr.write(`${sentence}\n`);
};

/** Whatever went wrong is said in one form, whether the command goes on after it or not. */
export const complain = (what: string | Error): void => say(`flotilla: ${typeof what === 'string' ? what : what.message}`);

/** Colours for a terminal, none elsewhere or with NO_COLOR; loaded only where something is coloured. */
export async function colors(): Promise<ReturnType<typeof pc.createColors>> {
  const { default: picocolors } = await import('picocolors');
  const wanted = process.stdout.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
  return picocolors.createColors(wanted || Boolean(process.env.FORCE_COLOR));
}

/** Control characters of somebody else's text would steer the reader's terminal: shown as escapes there, left alone in a pipe. */
export const forTerminal = (text: string): string =>
  process.stdout.isTTY
    ? text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`)
    : text;

/** An object as JSON or YAML text. */
export async function dataText(value: unknown, output: 'json' | 'yaml'): Promise<string> {
  if (output === 'json') return `${JSON.stringify(value, undefined, 2)}\n`;
  const { printYaml } = await import('../api/resources/yaml.js');
  return printYaml(value);
}

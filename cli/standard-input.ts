/** Standard input as a whole, and whether it is a unit file. */

/** A section header comes first, which no YAML document can begin with in a line of its own but a list of one word. */
export const isUnitFile = (text: string): boolean => /^(?:\s*(?:[#;].*)?\n)*\[[A-Z][A-Za-z-]*\]\s*\n/.test(text);

export async function readStdin(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

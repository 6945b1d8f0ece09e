/** Kubernetes quantities (`500m`, `1.5`, `256Mi`, `1e3`), read exactly: no floating point on the way. */

const binary: Readonly<Record<string, bigint>> = {
  Ki: 1024n,
  Mi: 1024n ** 2n,
  Gi: 1024n ** 3n,
  Ti: 1024n ** 4n,
  Pi: 1024n ** 5n,
  Ei: 1024n ** 6n,
};
/** Powers of ten. */
const decimal: Readonly<Record<string, number>> = { n: -9, u: -6, m: -3, '': 0, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 };

const form = /^\+?(\d{1,20})?(?:\.(\d{0,20}))?(?:([KMGTPE]i)|([numkMGTPE])|[eE]([+-]?\d{1,2}))?$/;

/** The quantity times `scale`, rounded up; undefined when the text is no quantity, negative, or too large to be counted exactly. */
function scaled(text: string, scale: bigint): number | undefined {
  const match = form.exec(text);
  if (match === null) return undefined;
  const [, whole = '', fraction = '', binarySuffix, decimalSuffix, exponent] = match;
  if (whole === '' && fraction === '') return undefined;
  let numerator = BigInt(whole + fraction) * scale;
  let power = -fraction.length;
  if (binarySuffix !== undefined) numerator *= binary[binarySuffix]!;
  else power += exponent === undefined ? decimal[decimalSuffix ?? '']! : Number(exponent);
  const ceiling = power >= 0 ? numerator * 10n ** BigInt(power) : divideUp(numerator, 10n ** BigInt(-power));
  return ceiling > BigInt(Number.MAX_SAFE_INTEGER) ? undefined : Number(ceiling);
}

const divideUp = (dividend: bigint, divisor: bigint): bigint => (dividend + divisor - 1n) / divisor;

/** Thousandths of a core, rounded up: `500m` is 500, `1.5` is 1500. Undefined when the text is no quantity. */
export const cpuMillis = (text: string): number | undefined => scaled(text, 1000n);

/** Bytes, rounded up: `256Mi` is 268435456. Undefined when the text is no quantity. */
export const memoryBytes = (text: string): number | undefined => scaled(text, 1n);

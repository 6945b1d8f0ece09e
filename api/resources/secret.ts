/** Secret: values that programs of the cluster need and nobody is shown. Stored encrypted, and masked wherever they are read. */
import { z } from 'zod';
import type { FlotillaObject } from './meta.js';

export const secretLimits = { maxKeys: 100, maxValueBytes: 128 * 1024 };

/** A key is a file name to whoever takes the values as files. */
export const secretKeyPattern = /^[-._A-Za-z0-9]{1,253}$/;

const Values = (what: string) => z.record(z.string(), z.string()).optional().describe(what);

export const SecretFields = {
  type: z.string().max(253).optional().describe('What kind of secret it is; for people, nothing depends on it.'),
  data: Values('Values in base64, by key. What is read is a mask, which is another one once the value is another one.'),
  stringData: Values('Values as they are, by key; written into data, and never read.'),
};

export interface Secret extends FlotillaObject {
  type?: string | undefined;
  data?: Record<string, string> | undefined;
  stringData?: Record<string, string> | undefined;
}

/** What is shown in a value's place. Sent back, it stands for the value that is there. */
export const maskOf = (digest: string): string => `<redacted ${digest}>`;
export const isMask = (value: string): boolean => /^<redacted [0-9a-f]*>$/.test(value);

/** Base64 as RFC 4648 section 4 has it, with line breaks. */
export const isBase64 = (value: string): boolean => {
  const text = value.replace(/[\r\n]/g, '');
  return text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
};

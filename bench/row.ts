/** One line of `npm run bench`. Times and rates of a shared machine say little alone, so a figure stands beside a limit of the same run. */
export interface Row {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** The raw limit of the same run that this is to be read against, in words. */
  readonly reference?: string;
  /** Ours as a share of that limit. */
  readonly ratio?: number;
  /** What we want it to be, as docs and issues state it. */
  readonly aim?: string;
}

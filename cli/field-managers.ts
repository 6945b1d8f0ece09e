/** Imperative verbs write under this name (SEMANTICS 26). What they changed, a manifest may take back without a question. */
export const imperativeManager = 'flotilla-cli';

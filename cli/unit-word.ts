/** A unit as people name it. */
import { unitTypes } from '../api/resources/unit-name.js';

/** `web` is web.service: no unit is named without its type. */
export const withType = (word: string): string => (unitTypes.some((type) => word.endsWith(`.${type}`)) ? word : `${word}.service`);

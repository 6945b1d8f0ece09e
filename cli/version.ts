/** The version that was built in, `development` where the program runs from its sources. */
export const version = process.env.FLOTILLA_VERSION ?? 'development';

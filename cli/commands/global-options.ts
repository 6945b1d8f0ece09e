/** Options of every verb: where the server is, and how to speak with it. */
import { type Command, Option } from 'commander';
import { seconds } from './tools.js';

const defaultEndpoint = 'unix:///run/flotilla/flotilla.sock';

export function declareGlobalOptions(program: Command): void {
  program
    .addOption(
      new Option('--endpoint <url>', 'where the server is: unix:///path or https://host:port')
        .env('FLOTILLA_ENDPOINT')
        .default(defaultEndpoint),
    )
    .addOption(new Option('--ca-file <file>', "PEM file of the cluster's CA").env('FLOTILLA_CA_FILE'))
    .addOption(new Option('--cert-file <file>', 'PEM file of a client certificate').env('FLOTILLA_CERT_FILE'))
    .addOption(new Option('--key-file <file>', "PEM file of that certificate's key").env('FLOTILLA_KEY_FILE'))
    .addOption(
      new Option('--request-timeout <seconds>', 'how long to wait until an answer begins')
        .env('FLOTILLA_REQUEST_TIMEOUT')
        .default(30)
        .argParser(seconds),
    );
}

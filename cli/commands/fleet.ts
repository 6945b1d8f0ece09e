/** fleet's verbs, as their users type them. */
import type { Command } from 'commander';
import type { Tools } from './tools.js';

export function declareFleet(program: Command, { online }: Tools): void {
  for (const [name, about] of [
    ['list-units', "units on machines, in fleet's columns"],
    ['list-machines', "machines, in fleet's columns"],
    ['list-unit-files', "units known to the cluster, in fleet's columns"],
  ] as const) {
    program
      .command(name)
      .summary(about)
      .description(`Lists ${about}.`)
      .option('-l, --full', 'whole ids and hashes')
      .option('--no-legend', 'leave the header line out')
      .option('--fields <fields>', 'columns, separated by commas')
      .action(
        online(async (context, options) => {
          const { listMachines, listUnitFiles, listUnits } = await import('../verbs/fleet-lists.js');
          const verb = { 'list-units': listUnits, 'list-machines': listMachines, 'list-unit-files': listUnitFiles }[name];
          return verb(context, options);
        }),
      );
  }
}

/** fleet's verbs, as its users type them. */
import type { Command } from 'commander';
import { count, oneOf, type Tools } from './tools.js';

/** Flags that fleet has on several verbs. */
const blocking = (command: Command, until: string) =>
  command
    .option('--no-block', `do not wait until the units ${until}`)
    .option('--block-attempts <number>', 'wait so many times 2 seconds; 0: 5 minutes', count, 0);
const forcing = (command: Command) => command.option('--force', 'also units that a GitSync keeps; it will revert what is changed');
const replacing = (command: Command) =>
  command
    .option('--replace', 'the unit file here replaces the one in the cluster, in place, on the same machine')
    .option('--sign', 'accepted for the habit, and ignored');
const units = '[units...]';
const unitsHelp = 'names, with or without .service; paths of unit files; quoted globs; - for standard input';
const namesHelp = 'names, with or without .service; quoted globs; - for names on standard input';

export function declareFleet(program: Command, { online }: Tools): void {
  const verb = (name: string, summary: string, description: string) => program.command(name).summary(summary).description(description);

  for (const [name, until, summary, description] of [
    ['submit', '', 'make unit files known', 'Makes unit files known to the cluster, without running them anywhere.'],
    ['load', 'are loaded', 'put units on machines', 'Puts units on machines, without starting them; what runs is stopped.'],
    ['start', 'are started', 'start units', 'Starts units on machines of the cluster, and waits until they are up.'],
  ] as const) {
    const command = forcing(replacing(verb(name, summary, description).argument(units, unitsHelp)));
    if (until) blocking(command, until);
    command.action(
      online(async (context, words: string[], options) =>
        (await import('../verbs/fleet/bring.js')).bring(context, name, words, { block: true, ...options }),
      ),
    );
  }

  for (const [name, until, summary, description] of [
    ['stop', 'have stopped', 'stop units, leave them on their machines', 'Stops units; they stay on their machines, loaded.'],
    [
      'unload',
      'are off their machines',
      'take units off their machines',
      'Stops units and takes them off their machines; the cluster still knows them.',
    ],
  ] as const) {
    forcing(blocking(verb(name, summary, description).argument(units, namesHelp), until)).action(
      online(async (context, words: string[], options) => {
        const { stop, stopVerb, unloadVerb } = await import('../verbs/fleet/stop.js');
        return stop(context, name === 'stop' ? stopVerb : unloadVerb, words, options);
      }),
    );
  }

  forcing(
    blocking(
      verb('restart', 'stop and start units', 'Restarts units where they are; a global unit on one machine after the other.').argument(
        units,
        namesHelp,
      ),
      'run again',
    ),
  )
    .option('--machine <machine>', 'only there: id, beginning of the id, or hostname')
    .action(
      online(async (context, words: string[], options) => (await import('../verbs/fleet/restart.js')).restart(context, words, options)),
    );

  forcing(
    blocking(
      verb(
        'destroy',
        'stop units and forget them',
        'Stops units, removes their files, and waits until process and file are gone.',
      ).argument(units, namesHelp),
      'are gone',
    ),
  ).action(
    online(async (context, words: string[], options) => (await import('../verbs/fleet/destroy.js')).destroy(context, words, options)),
  );

  verb('cat', 'the text of units', 'Prints the text of units, as it was written.')
    .argument(units, namesHelp)
    .action(online(async (context, words: string[]) => (await import('../verbs/fleet/cat.js')).cat(context, words)));

  for (const [name, about] of [
    ['list-units', "units on machines, in fleet's columns"],
    ['list-machines', "machines, in fleet's columns"],
    ['list-unit-files', "units known to the cluster, in fleet's columns"],
  ] as const) {
    verb(name, about, `Lists ${about}.`)
      .option('-l, --full', 'whole ids and hashes')
      .option('--no-legend', 'leave the header line out')
      .option('--fields <fields>', 'columns, separated by commas')
      .option('-o, --output <format>', 'json', oneOf(['json']))
      .action(
        online(async (context, options) => {
          const { listMachines, listUnitFiles, listUnits } = await import('../verbs/fleet/lists.js');
          const list = { 'list-units': listUnits, 'list-machines': listMachines, 'list-unit-files': listUnitFiles }[name];
          return list(context, options);
        }),
      );
  }
}

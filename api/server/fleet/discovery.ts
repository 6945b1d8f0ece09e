/** `/discovery`: fleet's API described in Google's discovery format, from which client libraries are generated. */

interface Parameter {
  readonly type: 'string';
  readonly location: 'path' | 'query';
  readonly required?: true;
  readonly description: string;
}

const inPath = (description: string): Parameter => ({ type: 'string', location: 'path', required: true, description });
const inQuery = (description: string): Parameter => ({ type: 'string', location: 'query', description });
const text = (description: string) => ({ type: 'string', description });
const listOf = ($ref: string, description: string) => ({ type: 'array', items: { $ref }, description });
const reference = ($ref: string) => ({ $ref });

const nextPage = text('Where the next page begins; absent on the last one.');
const pageParameter = { nextPageToken: inQuery('The token that came with the page before; without it, the first page.') };
const unitName = inPath('Name of the unit, with its type: hello.service.');

const page = (id: string, plural: string, item: string) => ({
  id,
  type: 'object',
  properties: { [plural]: listOf(item, 'What is on this page; absent when there is nothing.'), nextPageToken: nextPage },
});

const desiredStates = ['inactive', 'loaded', 'launched'];
const state = (description: string) => ({ type: 'string', enum: desiredStates, description });

const schemas = {
  Machine: {
    id: 'Machine',
    type: 'object',
    properties: {
      id: { type: 'string', required: true, description: 'Its machine id.' },
      primaryIP: text('The address that it is reached by.'),
      metadata: { type: 'object', properties: {}, additionalProperties: { type: 'string' }, description: 'What placement matches.' },
    },
  },
  MachinePage: page('MachinePage', 'machines', 'Machine'),
  UnitOption: {
    id: 'UnitOption',
    type: 'object',
    properties: {
      section: text('Section of the unit file, without its brackets.'),
      name: text('What stands before "=".'),
      value: text('What stands after it.'),
    },
  },
  Unit: {
    id: 'Unit',
    type: 'object',
    properties: {
      name: { type: 'string', required: true, description: 'Its name, which ends in its type.' },
      options: listOf('UnitOption', 'Its unit file, line by line, in order.'),
      desiredState: state('What it should be.'),
      currentState: state('What was seen of it; absent for a global unit.'),
      machineID: text('The machine that it is scheduled to; absent when there is none, and for a global unit.'),
    },
  },
  UnitPage: page('UnitPage', 'units', 'Unit'),
  UnitState: {
    id: 'UnitState',
    type: 'object',
    properties: {
      name: text('Name of the unit.'),
      hash: text('SHA-1 of the unit file on that machine, normalised.'),
      machineID: text('The machine where it was seen.'),
      systemdLoadState: text("systemd's load state."),
      systemdActiveState: text("systemd's active state."),
      systemdSubState: text("systemd's sub state."),
    },
  },
  UnitStatePage: page('UnitStatePage', 'states', 'UnitState'),
};

const read = (id: string, path: string, response: string, description: string, parameters: Readonly<Record<string, Parameter>>) => ({
  id,
  description,
  httpMethod: 'GET',
  path,
  parameters,
  parameterOrder: Object.keys(parameters).filter((name) => parameters[name]!.required),
  response: reference(response),
});

export const discoveryDocument = {
  kind: 'discovery#restDescription',
  discoveryVersion: 'v1',
  id: 'fleet:v1',
  // What generators call the package: theirs were made as this, too.
  name: 'schema',
  version: 'v1',
  title: 'fleet API',
  description: "Units, their states and machines of a Flotilla cluster, in the terms of fleet's API.",
  documentationLink: 'https://github.com/coreos/fleet',
  protocol: 'rest',
  icons: { x16: '', x32: '' },
  labels: [],
  // Whoever generates a client puts the address of a server here.
  rootUrl: '$ENDPOINT/',
  servicePath: 'fleet/v1/',
  baseUrl: '$ENDPOINT/fleet/v1/',
  basePath: '/fleet/v1/',
  batchPath: 'batch',
  parameters: {
    alt: { type: 'string', location: 'query', enum: ['json'], default: 'json', description: 'Form of the answer.' },
  },
  auth: {},
  schemas,
  resources: {
    Machines: {
      methods: {
        List: read('fleet.Machine.List', 'machines', 'MachinePage', 'A page of the machines that are heard of.', pageParameter),
      },
    },
    Units: {
      methods: {
        List: read('fleet.Unit.List', 'units', 'UnitPage', 'A page of the units.', pageParameter),
        Get: read('fleet.Unit.Get', 'units/{unitName}', 'Unit', 'One unit.', { unitName }),
        Set: {
          id: 'fleet.Unit.Set',
          description: 'Makes a unit of options, or changes the options or the desired state of the one there is.',
          httpMethod: 'PUT',
          path: 'units/{unitName}',
          parameters: { unitName },
          parameterOrder: ['unitName'],
          request: reference('Unit'),
        },
        Delete: {
          id: 'fleet.Unit.Delete',
          description: 'Destroys a unit.',
          httpMethod: 'DELETE',
          path: 'units/{unitName}',
          parameters: { unitName },
          parameterOrder: ['unitName'],
        },
      },
    },
    UnitState: {
      methods: {
        List: read('fleet.UnitState.List', 'state', 'UnitStatePage', 'A page of what was seen of units on machines.', {
          ...pageParameter,
          unitName: inQuery('Only this unit.'),
          machineID: inQuery('Only this machine, by its whole id.'),
        }),
        Get: read('fleet.UnitState.Get', 'state/{unitName}', 'UnitState', 'What was seen of one unit.', { unitName }),
      },
    },
  },
};

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readEndpoint } from '../../cli/endpoint.js';

for (const { given, url, word, problem } of [
  { given: 'unix:///run/flotilla/flotilla.sock', url: 'unix:///run/flotilla/flotilla.sock' },
  { given: '/var/run/fleet.sock', url: 'unix:///var/run/fleet.sock' },
  { given: 'file:///var/run/fleet.sock', url: 'unix:///var/run/fleet.sock' },
  { given: 'https://s1:7443', url: 'https://s1:7443' },
  { given: 'http://127.0.0.1:7080', url: 'http://127.0.0.1:7080' },
  { given: 'https://s1:7443, https://s2:7443', url: 'https://s1:7443', word: /only the first of 2 endpoints/ },
  { given: 'unix://var/run/fleet.sock', problem: /begins with a slash: unix:\/\/\/var\/run\/fleet\.sock/ },
  { given: '10.0.0.1:7443', problem: /^URL scheme undefined/ },
  { given: '', problem: /^URL scheme undefined/ },
  { given: 'htps://s1', problem: /unknown scheme "htps"; did you mean "https"\?/ },
  { given: 'https://', problem: /^expected unix:/ },
] as readonly { given: string; url?: string; word?: RegExp; problem?: RegExp }[]) {
  test(`endpoint ${JSON.stringify(given)}`, () => {
    const read = readEndpoint(given);
    if (problem) assert.match('problem' in read ? read.problem : '', problem);
    else assert.equal('url' in read && read.url, url);
    assert.match(('word' in read && read.word) || '', word ?? /^$/);
  });
}

// The type declarations name what there is, and nothing else. That they are right is for tsc to say (types.ts).

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import * as hotseat from '../hotseat.js';
import { EVENTS } from './support/events.js';

const text = readFileSync(new URL('../hotseat.d.ts', import.meta.url), 'utf8').replaceAll(/\/\*[^]*?\*\//g, '');

/** The names in the braces behind `export interface NAME` or `export class NAME`. */
function members(name) {
  const [, body] = new RegExp(`export (?:interface|class) ${name}\\b[^{]*\\{\\n([^]*?)\\n\\}`).exec(text);
  return [...body.matchAll(/^  (?:readonly )?(\w+)[?:<(]/gm)].map(([, found]) => found).sort();
}

test('every option is declared', () => {
  assert.throws(() => hotseat.connect({ nope: 1 }), ({ message }) => {
    assert.deepEqual(members('Options'), message.split('there are ')[1].split(', ').sort());
    return true;
  });
});

test('every event is declared', () => {
  assert.deepEqual(members('Events'), [...EVENTS].sort());
});

test('every member of a session is declared', () => {
  const session = hotseat.connect({ url: 'tcp://127.0.0.1:1' });
  session.close();
  const own = [...Object.keys(session), ...Object.getOwnPropertyNames(hotseat.Session.prototype)];
  assert.deepEqual(members('Session'), own.sort());
});

test('everything that is exported is declared', () => {
  const declared = [...text.matchAll(/^export (?:class|function) (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(declared.sort(), Object.keys(hotseat).sort());
});

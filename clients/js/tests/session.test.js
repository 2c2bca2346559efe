// The session against an engine that does whatever the test wants.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { InputTooLong, QueueFull, connect } from '../hotseat.js';
import { watch } from './support/events.js';
import { FakeEngine, closing, header, joined } from './support/fake.js';

const transports = ['tcp', ...(globalThis.WebSocket ? ['ws'] : [])];
if (transports.length < 2) console.log('# no WebSocket in this Node: run it with --experimental-websocket to test that transport too');

/** A session with an engine of its own, and what happens to it. */
async function begin(transport, options = {}) {
  const engine = await FakeEngine.listen();
  const session = connect({ url: engine.url(transport), retryMs: 1, retryMsMax: 4, ...options });
  return { engine, session, ...watch(session) };
}

/** One test for each transport. */
function each(name, options, body) {
  for (const transport of transports) {
    test(`${name} (${transport})`, { timeout: 120_000 }, async () => {
      const parts = await begin(transport, options);
      try {
        await body(parts);
      } finally {
        parts.session.close();
        parts.engine.close();
      }
    });
  }
}

/** The next frame that is no ping. */
async function nextInput(connection) {
  for (;;) {
    const frame = await connection.next();
    if (!frame.startsWith('04')) return frame;
  }
}

/** The bytes of the examples in docs/protocol.md, by what they are called there. */
const examples = new Map(
  readFileSync(new URL('../../../docs/protocol.md', import.meta.url), 'utf8').split('\n').flatMap((line) => {
    const found = /^([CE] .*): ((?:[0-9a-f]{2} ?)+)$/.exec(line);
    return found ? [[found[1], found[2].replaceAll(' ', '')]] : [];
  }),
);
const example = (name) => Buffer.from(examples.get(name), 'hex');

each('the client sends what the protocol shows', { room: 'main', hello: 'Ann' }, async ({ engine, session, event }) => {
  const connection = await engine.next();
  assert.equal(await connection.next(), examples.get('C Join'));
  connection.send(joined());
  await event('joined');
  session.send('up');
  assert.equal(await nextInput(connection), examples.get('C Message'));
  connection.send(example('E Ping'));
  assert.equal(await nextInput(connection), examples.get('C Pong'));
  session.leave();
  assert.equal(await nextInput(connection), examples.get('C Leave'));
  connection.send(closing(1000, 'bye'));
  assert.deepEqual(await event('closed'), { name: 'closed', code: 1000, reason: 'bye' });
});

each('credentials go with the join, a token instead of it', { credentials: 's3cret' }, async ({ engine, session }) => {
  assert.equal(await (await engine.next()).next(), examples.get('C Join with a secret'));
  session.close();
  const other = connect({ url: engine.url('tcp'), token: 'bWFpbg' });
  assert.equal(await (await engine.next()).next(), examples.get('C Resume'));
  other.close();
});

each('the client understands what the protocol shows', {}, async ({ engine, session, event }) => {
  const connection = await engine.next();
  await connection.next();
  connection.send(example('E Joined'));
  assert.deepEqual(await event('joined'), {
    name: 'joined', player: 0x12345678_9abcde, resumed: false, room: 'main', token: 'bWFpbg', version: 1001, versionName: 'game1', ticksPerSecond: 20,
  });
  assert.equal(session.state, 'joined');
  const head = { tick: 300, consumed: 2 };
  const bytes = (await (connection.send(example('E Message')), event('message')));
  assert.deepEqual({ ...bytes, bytes: Buffer.from(bytes.bytes).toString() }, { name: 'message', bytes: 'hi', ...head });
  connection.send(example('E Version'));
  assert.deepEqual(await event('version'), { name: 'version', version: 1002, versionName: 'game2' });
  connection.send(example('E Resync'));
  assert.deepEqual(await event('resync'), { name: 'resync', version: 1001, versionName: 'game1', reason: 'back', tick: 300 });
  connection.send(example('E Error'));
  assert.deepEqual(await event('error'), { name: 'error', code: 1, number: 2, text: 'no' });
  connection.send(example('E Notice'));
  assert.deepEqual(await event('notice'), { name: 'notice', severity: 2, text: 'E0308' });
  connection.send(Buffer.concat([header(0xee), Buffer.from('of a later engine')]), example('E Closing'));
  assert.deepEqual(await event('closed'), { name: 'closed', code: 4409, reason: 'elsewhere' });
  assert.deepEqual([session.tick, session.consumed, session.state], [300, 2, 'closed']);
});

each('the round trip is measured', { pingMs: 5 }, async ({ engine, session, event }) => {
  const connection = await engine.next();
  await connection.next();
  connection.send(joined());
  for (let count = 1; count <= 3; count += 1) {
    const ping = Buffer.from(await connection.next(), 'hex');
    assert.deepEqual([ping[0], ping.readBigUInt64LE(1)], [0x04, BigInt(count)]);
    // One that was never asked for measures nothing.
    connection.send(Buffer.concat([header(0x84), Buffer.alloc(8, 0xff)]), Buffer.concat([header(0x84), ping.subarray(1)]));
    const { rtt } = await event('rtt');
    assert.ok(rtt > 0 && rtt === session.rtt, `${rtt}`);
  }
});

const input = (number, text) => Buffer.concat([Buffer.of(3, number, 0, 0, 0), Buffer.from(text)]).toString('hex');

each('what was not consumed is sent again, once and in order', {}, async ({ engine, session, event }) => {
  assert.deepEqual([session.send('a'), session.send('b')], [1, 2]);
  let connection = await engine.next();
  await connection.next();
  connection.send(joined({ token: 'one' }));
  assert.deepEqual([await nextInput(connection), await nextInput(connection)], [input(1, 'a'), input(2, 'b')]);
  for (const text of ['c', 'd', 'e']) session.send(text);
  for (const [number, text] of [[3, 'c'], [4, 'd'], [5, 'e']]) assert.equal(await nextInput(connection), input(number, text));
  connection.send(Buffer.concat([header(0x83, { consumed: 2 }), Buffer.from('x')]));
  await event('message');
  assert.equal(session.unconsumed, 3);
  connection.cut();
  const { code, retryInMs } = await event('disconnected');
  assert.ok(code === 1006 && retryInMs > 0 && retryInMs <= 1, `${code} ${retryInMs}`);
  assert.equal(session.send('f'), 6);

  // The engine has had two more of them, which it could not say any more.
  connection = await engine.next();
  assert.equal(await connection.next(), Buffer.from('\x02one').toString('hex'));
  connection.send(joined({ resumed: 1, consumed: 4, token: 'two' }));
  assert.equal((await event('joined')).resumed, true);
  assert.deepEqual([await nextInput(connection), await nextInput(connection)], [input(5, 'e'), input(6, 'f')]);
  assert.equal(session.unconsumed, 2);
  connection.send(header(0x83, { consumed: 6 }));
  await event('message');
  assert.equal(session.unconsumed, 0);

  connection.cut();
  connection = await engine.next();
  assert.equal(await connection.next(), Buffer.from('\x02two').toString('hex'), 'the newest token');
  connection.send(joined({ resumed: 1, consumed: 6 }));
  await event('joined');
  session.send('g');
  assert.equal(await nextInput(connection), input(7, 'g'));
});

each('after a power cut of the engine the session goes on from what it knows', {}, async ({ engine, session, event, happened }) => {
  let connection = await engine.next();
  await connection.next();
  connection.send(joined());
  await event('joined');
  for (let number = 1; number <= 10; number += 1) session.send('early');
  connection.send(header(0x83, { consumed: 8 }));
  await event('message');
  connection.cut();

  // It had consumed 8, and knows of 5; 9 and 10 wait here.
  connection = await engine.next();
  await connection.next();
  connection.send(joined({ resumed: 1, consumed: 5 }));
  assert.deepEqual(await event('forgotten'), { name: 'forgotten', count: 3 });
  assert.deepEqual([await nextInput(connection), await nextInput(connection)], [input(6, 'early'), input(7, 'early')]);
  assert.equal(session.send('then'), 8);
  assert.equal(await nextInput(connection), input(8, 'then'));
  connection.send(header(0x83, { consumed: 8 }));
  await event('message');
  assert.equal(session.unconsumed, 0);
  connection.cut();

  // The same with nothing that waits.
  connection = await engine.next();
  await connection.next();
  connection.send(joined({ resumed: 1, consumed: 7 }));
  assert.deepEqual(await event('forgotten'), { name: 'forgotten', count: 1 });
  assert.equal(session.send('again'), 8);
  assert.equal(await nextInput(connection), input(8, 'again'));
  connection.cut();

  // Nothing is forgotten of what was only sent.
  connection = await engine.next();
  await connection.next();
  connection.send(joined({ resumed: 1, consumed: 7 }));
  assert.equal(await nextInput(connection), input(8, 'again'));
  assert.ok(!happened.some(({ name }) => name === 'forgotten'));
});

each('who comes with a token goes on after the inputs of before', { token: 'kept' }, async ({ engine, session, event, happened }) => {
  session.send('early');
  const connection = await engine.next();
  await connection.next();
  connection.send(joined({ resumed: 1, consumed: 40 }));
  await event('joined');
  assert.equal(await nextInput(connection), input(41, 'early'));
  assert.equal(session.send('then'), 42);
  assert.ok(!happened.some(({ name }) => name === 'overtaken'));
});

each('inputs that somebody else sent meanwhile do not swallow those from here', {}, async ({ engine, session, event, happened }) => {
  let connection = await engine.next();
  await connection.next();
  connection.send(joined());
  await event('joined');
  for (const text of ['a', 'b', 'c']) session.send(text);
  for (const [number, text] of [[1, 'a'], [2, 'b'], [3, 'c']]) assert.equal(await nextInput(connection), input(number, text));
  connection.send(header(0x83, { consumed: 2 }));
  await event('message');
  connection.cut();
  await event('disconnected');
  session.send('d');

  // Somebody else was there and sent ten; whether the third from here came before them nobody knows.
  connection = await engine.next();
  await connection.next();
  connection.send(joined({ resumed: 1, consumed: 13 }));
  assert.deepEqual(await event('overtaken'), { name: 'overtaken', count: 10, unsure: 1 });
  assert.equal(await nextInput(connection), input(14, 'd'));
  assert.equal(session.send('e'), 15);
  assert.equal(await nextInput(connection), input(15, 'e'));
  assert.equal(session.unconsumed, 2);
  connection.send(header(0x83, { consumed: 15 }));
  await event('message');
  assert.equal(session.unconsumed, 0);
  connection.cut();

  // Again, with nothing that waits.
  connection = await engine.next();
  await connection.next();
  connection.send(joined({ resumed: 1, consumed: 20 }));
  assert.deepEqual(await event('overtaken'), { name: 'overtaken', count: 5, unsure: 0 });
  assert.equal(session.send('f'), 21);
  assert.equal(await nextInput(connection), input(21, 'f'));
  assert.ok(!happened.some(({ name }) => name === 'forgotten'));
});

each('a version that came while away is told', {}, async ({ engine, event, happened }) => {
  let connection = await engine.next();
  connection.send(joined());
  await event('joined');
  connection.cut();
  connection = await engine.next();
  connection.send(joined({ resumed: 1, version: 1002, name: 'game2' }));
  assert.deepEqual(await event('version'), { name: 'version', version: 1002, versionName: 'game2' });
  connection.cut();
  (await engine.next()).send(joined({ resumed: 1, version: 1002, name: 'game2' }));
  await event('joined');
  assert.ok(!happened.some(({ name }) => name === 'version'));
});

const RESUMED = [1001, 4400, 4408, 4413, 4429, 4441, 4500];
const FINAL = [1000, 4401, 4403, 4404, 4409, 4410, 4440, 4503];

test('the close codes are those of the protocol', () => {
  const text = readFileSync(new URL('../../../docs/protocol.md', import.meta.url), 'utf8');
  const rows = [...text.matchAll(/^\| (\d{4}) \|.*\| (yes|no) \|$/gm)];
  const codes = (word) => rows.filter((row) => row[2] === word).map((row) => Number(row[1]));
  assert.deepEqual([codes('yes'), codes('no')], [RESUMED, FINAL]);
});

each('the session comes back after the codes that allow it', {}, async ({ engine, event }) => {
  for (const code of RESUMED) {
    const connection = await engine.next();
    await connection.next();
    connection.send(joined(), closing(code, 'why'));
    const { code: found, reason } = await event('disconnected');
    assert.deepEqual([found, reason], [code, 'why']);
  }
});

for (const code of FINAL) {
  each(`the session is over after ${code}`, {}, async ({ engine, session, event }) => {
    const connection = await engine.next();
    await connection.next();
    connection.send(closing(code, 'why'));
    assert.deepEqual(await event('closed'), { name: 'closed', code, reason: 'why' });
    await connection.ended;
    assert.equal(session.state, 'closed');
    assert.throws(() => session.send('x'), /over/);
  });
}

if (globalThis.WebSocket) {
  test('a close code without a Closing before it counts too', async () => {
    const { engine, event } = await begin('ws');
    (await engine.next()).closeWith(4441);
    assert.equal((await event('disconnected')).code, 4441);
    const connection = await engine.next();
    assert.match(connection.head.toString(), /^GET \/ws HTTP\/1.1\r\n[^]*sec-websocket-protocol: hotseat.1\r\n/i);
    connection.closeWith(4404);
    assert.equal((await event('closed')).code, 4404);
    engine.close();
  });
}

each('a silent connection counts as gone', { silenceMs: 400, pingMs: 20 }, async ({ engine, event }) => {
  const connection = await engine.next();
  connection.send(joined());
  assert.match((await event('disconnected')).reason, /nothing was heard for 400 ms/);
  assert.equal(await (await engine.next()).next(), Buffer.from('\x02t').toString('hex'));
});

each('a frame that is none ends the connection, not the session', {}, async ({ engine, event }) => {
  for (const bad of [Buffer.of(0x83), joined().subarray(0, 20), Buffer.concat([header(0x85), Buffer.of(1)]), Buffer.alloc(0)]) {
    (await engine.next()).send(bad);
    assert.match((await event('disconnected')).reason, /a frame that is none/);
  }
});

test('a TCP frame above the limit ends the connection; one in pieces does not', async () => {
  const { engine, session, event } = await begin('tcp');
  let connection = await engine.next();
  connection.socket.write(Buffer.of(0xff, 0xff, 0xff, 0xff));
  assert.match((await event('disconnected')).reason, /above the limit/);
  connection = await engine.next();
  const frame = joined();
  for (const byte of [frame.length, 0, 0, 0, ...frame]) await new Promise((done) => connection.socket.write(Buffer.of(byte), done));
  await event('joined');
  session.close();
  engine.close();
});

each('the queue has a limit', { queuedInputsMax: 3, queuedBytesMax: 10 }, async ({ engine, session, event }) => {
  for (const text of ['a', 'b', 'c']) session.send(text);
  assert.throws(() => session.send('d'), QueueFull);
  const connection = await engine.next();
  connection.send(joined(), header(0x83, { consumed: 3 }));
  await event('message');
  assert.throws(() => session.send('more than ten bytes'), InputTooLong);
  assert.equal(session.send('d'), 4);
  assert.throws(() => session.send('ten bytes!'), QueueFull);
});

test('an input that no engine takes is refused at once', () => {
  const session = connect({ url: 'tcp://127.0.0.1:1' });
  assert.throws(() => session.send(new Uint8Array(65_532)), InputTooLong);
  assert.equal(session.send(new Uint8Array(65_531)), 1);
  session.close();
  const other = connect({ url: 'tcp://127.0.0.1:1', inputBytesMax: 70_000 });
  assert.equal(other.send(new Uint8Array(70_000)), 1);
  other.close();
});

for (const code of [4400, 4413]) {
  each(`a session does not come back for ever with an input that the engine refuses (${code})`, {}, async ({ engine, session, event, happened }) => {
    for (const text of ['a', 'b', 'c']) session.send(text);
    // Each time it gets one input further: those are not the ones that it refuses.
    for (const consumed of [0, 1]) {
      const connection = await engine.next();
      await connection.next();
      connection.send(joined({ resumed: consumed, consumed }));
      assert.equal(await nextInput(connection), input(1 + consumed, 'abc'[consumed]));
      connection.send(closing(code, 'too long', { consumed: consumed + 1 }));
      assert.equal((await event('disconnected')).code, code);
    }
    const connection = await engine.next();
    await connection.next();
    connection.send(joined({ resumed: 1, consumed: 2 }));
    assert.equal(await nextInput(connection), input(3, 'c'));
    connection.send(closing(code, 'too long', { consumed: 2 }));
    assert.deepEqual(await event('closed'), { name: 'closed', code, reason: 'too long' });
    assert.ok(!happened.some(({ name }) => name === 'disconnected'));
  });
}

test('a session whose WebSocket cannot be made is over', async () => {
  const url = 'ws://127.0.0.1:1/ws';
  class Forbidden {
    constructor() { throw new Error('not from this page'); }
  }
  const { event } = watch(connect({ url, WebSocket: Forbidden }));
  assert.deepEqual(await event('closed'), { name: 'closed', code: 0, reason: 'not from this page' });
  if (!globalThis.WebSocket) return;
  const fragment = watch(connect({ url: `${url}#here` }));
  assert.equal((await fragment.event('closed')).code, 0);
});

each('what a sender changes later is not sent', {}, async ({ engine, session }) => {
  const bytes = Uint8Array.of(1, 2);
  session.send(bytes);
  bytes.fill(9);
  const connection = await engine.next();
  await connection.next();
  connection.send(joined());
  assert.equal(await nextInput(connection), '03010000000102');
});

each('hanging up leaves the player in the room', {}, async ({ engine, session, event }) => {
  const connection = await engine.next();
  await connection.next();
  connection.send(joined());
  await event('joined');
  session.close();
  assert.deepEqual(await event('closed'), { name: 'closed', code: 0, reason: 'hung up' });
  await connection.ended;
});

/** What the engine allows if its config does not say otherwise: engine/src/config.rs. */
const FRAMES_PER_SECOND_MAX = 200;

/** Consumes what comes, in order, as an engine with that limit; gives the texts. Who sends more is closed. */
async function consumeWithinRate(connection, count) {
  const texts = [];
  let [left, filledAt] = [FRAMES_PER_SECOND_MAX - 1, performance.now()];
  while (texts.length < count) {
    const frame = Buffer.from(await connection.next(), 'hex');
    const now = performance.now();
    left = Math.min(FRAMES_PER_SECOND_MAX, left + (now - filledAt) / 1000 * FRAMES_PER_SECOND_MAX) - 1;
    filledAt = now;
    if (left < 0) {
      connection.send(closing(4429, 'too many frames'));
      break;
    }
    if (frame[0] !== 0x03) continue;
    assert.equal(frame.readUInt32LE(1), texts.length + 1);
    texts.push(frame.subarray(5).toString());
    connection.send(header(0x83, { consumed: texts.length }));
  }
  return texts;
}

each('a long queue goes out no faster than an engine takes it', {}, async ({ engine, session, event, happened }) => {
  const texts = Array.from({ length: 500 }, (_, at) => `${at}`);
  for (const text of texts) session.send(text);
  const connection = await engine.next();
  await connection.next();
  connection.send(joined());
  assert.deepEqual(await consumeWithinRate(connection, texts.length), texts);
  await event('message', ({ consumed }) => consumed === texts.length);
  assert.equal(session.unconsumed, 0);
  assert.ok(!happened.some(({ name }) => name === 'disconnected'));
});

each('attempts to come back that led somewhere do not slow the next', { retryMs: 4, retryMsMax: 1 << 20 }, async ({ engine, session, event }) => {
  for (let turn = 1; turn <= 12; turn += 1) {
    session.send('x');
    const connection = await engine.next();
    await connection.next();
    connection.send(joined({ resumed: 1, consumed: turn - 1 }), header(0x83, { consumed: turn }));
    await event('message', ({ consumed }) => consumed === turn);
    connection.cut();
    const { retryInMs } = await event('disconnected');
    assert.ok(retryInMs <= 4, `${retryInMs} ms after turn ${turn}`);
  }
});

const LEAVE = '06';
const resume = (token) => Buffer.from(`\x02${token}`).toString('hex');

each('who leaves while the connection is gone comes back to say so', {}, async ({ engine, session, event }) => {
  let connection = await engine.next();
  await connection.next();
  connection.send(joined({ token: 'one' }));
  await event('joined');
  connection.cut();
  await event('disconnected');
  session.send('last');
  session.leave();
  assert.notEqual(session.state, 'closed');
  connection = await engine.next();
  assert.equal(await connection.next(), resume('one'));
  connection.send(joined({ resumed: 1 }));
  assert.deepEqual([await nextInput(connection), await nextInput(connection)], [input(1, 'last'), LEAVE]);
  connection.send(closing(1000, 'bye'));
  assert.deepEqual(await event('closed'), { name: 'closed', code: 1000, reason: 'bye' });
});

each('a Leave whose answer is lost is said again, until the engine knows the player no more', {}, async ({ engine, session, event }) => {
  let connection = await engine.next();
  await connection.next();
  connection.send(joined());
  await event('joined');
  session.leave();
  assert.equal(await nextInput(connection), LEAVE);
  connection.cut();
  connection = await engine.next();
  await connection.next();
  connection.send(joined({ resumed: 1 }));
  assert.equal(await nextInput(connection), LEAVE);
  connection.cut();
  connection = await engine.next();
  await connection.next();
  connection.send(closing(4410, 'unknown'));
  assert.deepEqual(await event('closed'), { name: 'closed', code: 1000, reason: 'left' });
});

each('who leaves while a Join is under way leaves once it is answered', {}, async ({ engine, session, event }) => {
  const connection = await engine.next();
  await connection.next();
  session.leave();
  connection.send(joined());
  assert.equal(await nextInput(connection), LEAVE);
  connection.send(closing(1000, 'bye'));
  assert.equal((await event('closed')).code, 1000);
});

each('who leaves before asking for anything is out at once', {}, async ({ session, event }) => {
  session.leave();
  assert.deepEqual(await event('closed'), { name: 'closed', code: 1000, reason: 'left' });
});

test('who cannot say that they leave gives up in the end', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const { engine, session, event } = await begin('tcp', { token: 'kept' });
  const connection = await engine.next();
  assert.equal(await connection.next(), resume('kept'));
  session.leave();
  context.mock.timers.tick(9_999);
  assert.equal(session.state, 'connecting');
  context.mock.timers.tick(1);
  const { code, reason } = await event('closed');
  assert.equal(code, 0);
  assert.match(reason, /did not hear within 10000 ms/);
  engine.close();
});

test('what can never work is refused at once', () => {
  assert.throws(() => connect({ url: 'tcp://127.0.0.1:1', inputsPerSecondMax: 0 }), /above 0/);
  assert.throws(() => connect({ url: 'http://127.0.0.1/' }), /no ws:, wss: or tcp:/);
  assert.throws(() => connect({ url: 'tcp://127.0.0.1:1', rom: 'main' }), /no option 'rom'/);
  assert.throws(() => connect({ url: 'tcp://127.0.0.1:1', room: 'x'.repeat(65) }), /at most 64 bytes/);
  assert.throws(() => connect({ url: 'tcp://127.0.0.1:1', hello: 5 }), /a message is/);
  assert.throws(() => connect({ url: 'tcp://127.0.0.1:1', token: 'x'.repeat(257) }), /at most 256 bytes/);
  assert.throws(() => connect({ url: 'tcp://127.0.0.1:1', inputBytesMax: 0 }), /above 0/);
  const numbers = ['retryMs', 'retryMsMax', 'silenceMs', 'pingMs', 'queuedInputsMax', 'queuedBytesMax', 'inputBytesMax', 'inputsPerSecondMax'];
  for (const name of numbers) {
    for (const value of ['x', '5', NaN, 0, -1, null]) {
      assert.throws(() => connect({ url: 'tcp://127.0.0.1:1', [name]: value }), new RegExp(`${name} is a number above 0 and at most`));
    }
  }
  for (const name of ['retryMs', 'retryMsMax', 'pingMs']) {
    for (const value of [2 ** 31, Infinity]) {
      assert.throws(() => connect({ url: 'tcp://127.0.0.1:1', [name]: value }), /at most 2147483647/);
    }
  }
  connect({ url: 'tcp://127.0.0.1:1', silenceMs: Infinity, queuedInputsMax: Infinity, queuedBytesMax: Infinity }).close();
  for (const name of ['room', 'credentials', 'token']) {
    for (const value of [5, true, {}, ...(name === 'token' ? [] : [null])]) {
      assert.throws(() => connect({ url: 'tcp://127.0.0.1:1', [name]: value }), new RegExp(`${name} is a string`));
    }
  }
  for (const url of ['tcp://127.0.0.1', 'tcp://127.0.0.1/', 'tcp://127.0.0.1:0', 'tcp:127.0.0.1:1']) {
    assert.throws(() => connect({ url }), /names no port/);
  }
  connect({ url: 'tcp://127.0.0.1:1', token: null }).close();
  // The frame of the Join: a kind, three lengths, the room, the hello.
  const join = { url: 'tcp://127.0.0.1:1', room: 'main' };
  assert.throws(() => connect({ ...join, hello: new Uint8Array(65_529) }), /1 bytes too long/);
  connect({ ...join, hello: new Uint8Array(65_528) }).close();
});

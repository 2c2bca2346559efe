// The session against a real engine that runs the arena.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { connect } from '../hotseat.js';
import { readNews } from '../../../logic/page/news.js';
import { Engine, Wire, withEngine } from './support/engine.js';
import { watch } from './support/events.js';

const transports = ['tcp', ...(globalThis.WebSocket ? ['ws'] : [])];

function begin(url, options = {}) {
  const session = connect({ url, retryMs: 1, retryMsMax: 20, ...options });
  return { session, ...watch(session) };
}

/** The part of this kind of the next message that has one. */
async function part({ event }, kind) {
  let found;
  await event('message', ({ bytes }) => { found = readNews(bytes).find((one) => one.kind === kind); return found; });
  return found;
}

test('sessions with a real engine', withEngine, async (suite) => {
  const engine = await Engine.start();
  await engine.build(2);
  const each = (name, body) => Promise.all(transports.map((transport) => suite.test(`${name} (${transport})`, () => body(transport))));

  await each('a player joins, steers and leaves', async (transport) => {
    const player = begin(engine.url(transport), { hello: `${transport} player`, pingMs: 20 });
    const { player: id, resumed, room, version, versionName, ticksPerSecond } = await player.event('joined');
    assert.deepEqual([resumed, room, version, versionName, ticksPerSecond], [false, 'main', 1001, 'game1', 20]);
    assert.ok(Number.isSafeInteger(id) && id > 0);
    const { number } = await part(player, 'you');
    const place = async () => (await part(player, 'state')).avatars.find((avatar) => avatar.number === number);
    const before = await place();
    const input = player.session.send(Int8Array.of(before.x < 0.5 ? 127 : -127, 0));
    await player.event('message', ({ consumed }) => consumed === input);
    assert.equal(player.session.unconsumed, 0);
    while (Math.abs((await place()).x - before.x) < 0.02);
    assert.ok((await player.event('rtt')).rtt > 0);
    assert.match(await engine.get('/leaderboard'), new RegExp(`"${transport} player"`));
    player.session.leave();
    assert.equal((await player.event('closed')).code, 1000);
    assert.doesNotMatch(await engine.get('/leaderboard'), new RegExp(`"${transport} player"`));
  });

  await each('a cut connection comes back, and no input is lost', async (transport) => {
    const wire = await Wire.to(engine.port);
    const player = begin(engine.url(transport, wire.port));
    const { player: id } = await player.event('joined');
    for (let turn = 0; turn < 20; turn += 1) {
      for (let sent = 0; sent < 10; sent += 1) player.session.send(Int8Array.of(turn, sent));
      if (turn % 4 === 3) {
        wire.cut();
        await player.event('disconnected');
        const { player: again, resumed } = await player.event('joined');
        assert.deepEqual([again, resumed], [id, true]);
      }
    }
    await player.event('message', ({ consumed }) => consumed === 200);
    assert.equal(player.session.unconsumed, 0);
    player.session.leave();
    await player.event('closed');
    wire.close();
  });

  await each('the newest connection has the player', async (transport) => {
    const first = begin(engine.url(transport));
    const { token, player: id } = await first.event('joined');
    const input = first.session.send(Int8Array.of(1, 1));
    await first.event('message', ({ consumed }) => consumed === input);
    const second = begin(engine.url(transport === 'tcp' ? transports.at(-1) : 'tcp'), { token });
    const { player: again, resumed } = await second.event('joined');
    assert.deepEqual([again, resumed], [id, true]);
    assert.equal((await first.event('closed')).code, 4409);
    assert.equal(second.session.send(Int8Array.of(1, 2)), input + 1);
    await second.event('message', ({ consumed }) => consumed === input + 1);
    second.session.leave();
    await second.event('closed');
    const third = begin(engine.url(transport), { token });
    assert.equal((await third.event('closed')).code, 4410, 'who has left has no token any more');
  });

  await each('what is refused is refused for good', async (transport) => {
    const stranger = begin(engine.url(transport), { token: 'bWFpbg' });
    assert.equal((await stranger.event('closed')).code, 4410);
    const lost = begin(engine.url(transport), { room: 'nowhere' });
    assert.equal((await lost.event('closed')).code, 4404);
  });

  await each('the longest input is taken, and one that is longer ends the session', async (transport) => {
    const player = begin(engine.url(transport), { inputBytesMax: 1 << 20 });
    const input = player.session.send(new Uint8Array(65_531));
    await player.event('message', ({ consumed }) => consumed === input);
    player.session.send(new Uint8Array(65_532));
    assert.equal((await player.event('disconnected')).code, 4413);
    const { code, reason } = await player.event('closed');
    assert.deepEqual([code, reason], [4413, 'a frame of 65537 bytes; expected at most 65536 (frame_bytes_max)']);
  });

  await suite.test('players see every tick through swaps', async () => {
    const players = transports.map((transport) => begin(engine.url(transport)));
    await Promise.all(players.map(({ event }) => event('joined')));
    const ticks = players.map(() => []);
    players.forEach(({ session }, place) => session.on('message', ({ bytes, tick }) => {
      if (readNews(bytes).some(({ kind }) => kind === 'state')) ticks[place].push(tick);
    }));
    for (const number of [2, 1, 2, 1]) {
      await engine.load(number);
      for (const { event } of players) {
        assert.deepEqual(await event('version'), { name: 'version', version: 1000 + number, versionName: `game${number}` });
        await event('message');
      }
    }
    for (const [place, { session, happened }] of players.entries()) {
      const [first] = ticks[place];
      assert.deepEqual(ticks[place], ticks[place].map((_, count) => first + count), 'no tick is missing, none comes twice');
      assert.ok(!happened.some(({ name }) => name === 'disconnected'));
      session.leave();
    }
    await Promise.all(players.map(({ event }) => event('closed')));
  });

  await suite.test('a version that is taken back is told, and play goes on', async () => {
    const players = transports.map((transport) => begin(engine.url(transport)));
    await Promise.all(players.map(({ event }) => event('joined')));
    await engine.load(2);
    for (const { session, event } of players) {
      await event('version', ({ version }) => version === 1002);
      session.send(Int8Array.of(1, 1));
    }
    await engine.rollBack();
    for (const { session, event, happened } of players) {
      const { version, versionName } = await event('resync');
      assert.deepEqual([version, versionName], [1001, 'game1']);
      const input = session.send(Int8Array.of(1, 2));
      await event('message', ({ consumed }) => consumed === input);
      assert.ok(!happened.some(({ name }) => name === 'disconnected' || name === 'error'));
      session.leave();
      await event('closed');
    }
  });

  await suite.test('the example of the README plays', async () => {
    const file = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
    const [readme, example] = ['README.md', 'examples/collector.js'].map((path) => readFileSync(file(path), 'utf8'));
    assert.ok(readme.includes(`\`\`\`js\n${example}\`\`\`\n`), 'the README has it word for word');
    const child = spawn(process.execPath, [file('examples/collector.js'), engine.url('tcp')], { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = once(child, 'exit');
    const [line] = await once(child.stdout.setEncoding('utf8'), 'data');
    assert.match(line, /^player \d+ on version 1001\n$/);
    const score = async () => JSON.parse(await engine.get('/leaderboard')).find(({ nick }) => nick === 'Collector').score;
    while (await score() < 3);
    child.kill();
    await ended;
  });

  await engine.stop();
});

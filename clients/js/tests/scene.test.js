// What the arena's page makes of the news: where avatars are between two ticks, and when things happen.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UnknownNews, readNews } from '../../../logic/page/news.js';
import { Scene } from '../../../logic/page/scene.js';

const TICK_MS = 50;
/** So much later than it comes a state is shown. */
const DELAY_MS = 100;

function state(ms, x, more = {}) {
  return { kind: 'state', ms: ms >>> 0, avatars: [{ number: 1, x, y: 0.5, score: 0, radius: 18, away: false, dazed: false, ...more }] };
}

/** A scene that has had a state every tick, in which avatar 1 goes a hundredth of the map in each. */
function moving(firstMs, ticks = 6) {
  const scene = new Scene();
  scene.take([{ kind: 'you', number: 1 }, { kind: 'face', number: 1, nick: 'ann', bot: false }], 0);
  for (let tick = 0; tick < ticks; tick += 1) {
    scene.take([state(firstMs + tick * TICK_MS, 0.1 + tick / 100)], 1000 + tick * TICK_MS);
  }
  return scene;
}

const near = (found, expected) => assert.ok(Math.abs(found - expected) < 0.01, `${found} is not ${expected}`);

for (const firstMs of [5000, 2 ** 32 - 120, 2 ** 31 - 60]) {
  test(`avatars are between the ticks (server time from ${firstMs})`, () => {
    const scene = moving(firstMs);
    for (const [now, ticks] of [[1000 + DELAY_MS, 0], [1025 + DELAY_MS, 0.5], [1110 + DELAY_MS, 2.2], [1250 + DELAY_MS, 5]]) {
      scene.advance(now);
      near(scene.self.x, (0.1 + ticks / 100) * scene.map.width);
    }
    // No news: on as before for a while, and no further.
    scene.advance(1300 + DELAY_MS);
    near(scene.self.x, 0.16 * scene.map.width);
    scene.advance(9000);
    near(scene.self.x, 0.18 * scene.map.width);
  });
}

test('a time that jumps begins anew', () => {
  const scene = moving(5000);
  scene.advance(1200);
  scene.take([state(60_000, 0.9)], 1300);
  scene.advance(1300 + DELAY_MS);
  near(scene.self.x, 0.9 * scene.map.width);
});

test('what happens in a tick is seen with it', () => {
  const scene = moving(5000);
  scene.take([{ kind: 'orb', number: 7, x: 0.5, y: 0.5, value: 1, from: 0 }], 1260);
  assert.equal(scene.orbs.size, 1);
  scene.take([{ kind: 'taken', orb: 7, by: 1 }, state(5300, 0.16, { score: 1 })], 1300);
  scene.advance(1399);
  assert.deepEqual([scene.orbs.size, scene.self.score, scene.happened], [1, 0, []]);
  scene.advance(1401);
  assert.deepEqual([scene.orbs.size, scene.self.score, scene.happened.map(({ kind }) => kind)], [0, 1, ['taken']]);
  assert.deepEqual(scene.ranking().map(({ nick }) => nick), ['ann']);
});

test('the clock of a round goes on where nobody looks', () => {
  const scene = moving(5000);
  scene.take([state(5300, 0.16), { kind: 'round', phase: 1, round: 7, leftMs: 60_000, podium: [] }], 1300);
  // A tab that is hidden draws nothing.
  scene.advance(21_300);
  assert.equal(scene.round.round, 7);
  near(scene.round.endsAt, 1300 + DELAY_MS + 60_000);
});

test('nobody looks for an hour', () => {
  const scene = moving(5000);
  scene.advance(1250 + DELAY_MS);
  const ticks = 72_000;
  let most = 0;
  for (let tick = 0; tick < ticks; tick += 1) {
    const [orb, ms] = [tick % 500, (tick + 6) * TICK_MS];
    const news = [{ kind: 'orb', number: orb, x: 0.5, y: 0.5, value: 1, from: 0 }, { kind: 'taken', orb, by: 1 }];
    scene.take([...news, state(5000 + ms, 0.5, { score: tick })], 1000 + ms);
    most = Math.max(most, scene.happened.length);
  }
  assert.ok(most <= 200, `${most} happenings wait`);
  // What one look does is bounded, and nothing of the hour is shown.
  let done = 0;
  const { orbs } = scene;
  scene.orbs = { set: (...entry) => { done += 1; orbs.set(...entry); }, get: (key) => orbs.get(key), delete: (key) => { done += 1; orbs.delete(key); } };
  scene.advance(1000 + (ticks + 5) * TICK_MS + DELAY_MS);
  assert.ok(done <= 1000, `${done} parts were applied at once`);
  // But for its last half second, in which an orb was taken in each tick.
  assert.ok(scene.happened.length <= 11, `${scene.happened.length} things are shown`);
  assert.deepEqual([orbs.size, scene.self.score], [0, ticks - 1]);
});

test('news that this page does not know are refused whole', () => {
  assert.throws(() => readNews(Uint8Array.of(9, 99)), UnknownNews);
  assert.throws(() => readNews(Uint8Array.of(1, 200)), UnknownNews);
  assert.throws(() => readNews(Uint8Array.of(10, 0, 0, 0, 0, 1, 0)), RangeError);
});

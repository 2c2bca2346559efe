// What the page knows of the arena, and where everything is between two ticks of the server.

/** States come in steps; what is shown is so far in the past that the next step is mostly here already. */
const DELAY_MS = 100;
/** Where no news comes, avatars go on as they went for so long. */
const EXTRAPOLATION_MS = 150;
const SAMPLES_MAX = 40;
/** In a tab that nobody sees messages come and nothing is drawn: no more than so much waits for its time, … */
const LATER_MAX = 1000;
/** … nor is told to whoever draws; … */
const HAPPENED_MAX = 200;
/** … and what is so much behind its time is not shown any more, but only true. */
const UNSEEN_MS = 500;
/** A difference between two clocks that is no jitter any more. */
const JUMP_MS = 1000;

/** The hue of an avatar: neighbours in number are far apart in colour. */
export const hueOf = (number) => (140 + number * 137.508) % 360;

export class Scene {
  map = { width: 1600, height: 1000, ground: [10, 14, 26], grid: [28, 40, 70], walls: [77, 208, 255] };
  own = 0;
  avatars = new Map();
  orbs = new Map();
  round = { phase: 0, round: 0, endsAt: 0, lengthMs: 1, podium: [] };
  /** What has just happened, for whoever draws it: taken by them. */
  happened = [];

  /** Local minus server time, as the quickest messages have it. */
  #offset;
  #delay = DELAY_MS;
  /** What has come but is not to be seen before its tick is: in order. */
  #later = [];

  /** Forgets everything but the map: the next news tells all of it. */
  clear() {
    this.avatars.clear();
    this.orbs.clear();
    this.#later = [];
    this.#offset = undefined;
  }

  setTickRate(ticksPerSecond) {
    this.#delay = Math.max(DELAY_MS, 2000 / (ticksPerSecond || 20));
  }

  /** Takes in the parts of one message that came at `now` (milliseconds, local). */
  take(parts, now) {
    // What happened in a tick is shown when the avatars are where they were in that tick.
    const state = parts.find((part) => part.kind === 'state');
    const time = state && this.#serverTime(state.ms, now);
    for (const part of parts) {
      if (part.kind === 'state') this.#move(part.avatars, time);
      else if (time !== undefined) this.#later.push({ time, part });
      else this.#apply(part, now);
    }
    // Down to a half, so that it is not done for each message.
    if (this.#later.length > LATER_MAX) this.#applyLater(this.#later.length - LATER_MAX / 2, now);
  }

  /** Brings everything to where it is at `now`. */
  advance(now) {
    if (this.#offset === undefined) return;
    const time = now - this.#offset - this.#delay;
    const unseen = this.#dueAt(time - UNSEEN_MS);
    if (unseen) {
      this.#applyLater(unseen, now);
      this.happened = [];
    }
    this.#applyLater(this.#dueAt(time), now);
    for (const avatar of this.avatars.values()) place(avatar, time);
  }

  get self() {
    return this.avatars.get(this.own);
  }

  /** Those on the map, the best first. */
  ranking() {
    return [...this.avatars.values()].filter((avatar) => avatar.seen).sort((one, other) => other.score - one.score || one.number - other.number);
  }

  /** How much of what waits is to be seen at this time. */
  #dueAt(time) {
    const found = this.#later.findIndex((one) => one.time > time);
    return found < 0 ? this.#later.length : found;
  }

  /** Where nobody looked for a while, that is long after it was due, and a clock has gone on since then. */
  #applyLater(count, now) {
    const behind = this.#offset + this.#delay;
    for (const { time, part } of this.#later.splice(0, count)) this.#apply(part, Math.min(now, time + behind));
  }

  #happen(event) {
    this.happened.push(event);
    if (this.happened.length > HAPPENED_MAX) this.happened.shift();
  }

  /** The server's clock goes around every 49 days; times here never do. */
  #serverTime(ms, now) {
    const epoch = this.#offset === undefined ? 0 : Math.round(now - this.#offset);
    const time = epoch + ((ms - epoch) | 0);
    const found = now - time;
    if (this.#offset === undefined || Math.abs(found - this.#offset) > JUMP_MS) {
      this.#offset = found;
      this.#later = [];
      for (const avatar of this.avatars.values()) avatar.samples = [];
    } else {
      // Quick messages tell the truth about the way here; slow ones only that something was in it.
      this.#offset += (found - this.#offset) * (found < this.#offset ? 0.3 : 0.02);
    }
    return time;
  }

  #move(states, time) {
    for (const state of states) {
      const avatar = this.#avatar(state.number);
      const { samples } = avatar;
      if (samples.length && samples.at(-1).time >= time) samples.pop();
      samples.push({ ...state, time, x: state.x * this.map.width, y: state.y * this.map.height });
      if (samples.length > SAMPLES_MAX) samples.shift();
    }
  }

  #avatar(number) {
    let avatar = this.avatars.get(number);
    if (!avatar) {
      avatar = { number, nick: '', bot: false, seen: false, samples: [], x: 0, y: 0, vx: 0, vy: 0, radius: 18, score: 0, away: false, dazed: false, trail: [] };
      this.avatars.set(number, avatar);
    }
    return avatar;
  }

  #apply(part, now) {
    switch (part.kind) {
      case 'rules':
        this.map = part;
        break;
      case 'you':
        this.clear();
        this.own = part.number;
        break;
      case 'face':
        Object.assign(this.#avatar(part.number), { nick: part.nick, bot: part.bot });
        break;
      case 'gone':
        if (this.avatars.has(part.number)) this.#happen({ kind: 'gone', avatar: this.avatars.get(part.number) });
        this.avatars.delete(part.number);
        break;
      case 'orb': {
        const [x, y] = [part.x * this.map.width, part.y * this.map.height];
        const from = part.from ? this.avatars.get(part.from) : undefined;
        this.orbs.set(part.number, { number: part.number, value: part.value, x, y, bornAt: now, from: from && { x: from.x, y: from.y } });
        break;
      }
      case 'taken': {
        const orb = this.orbs.get(part.orb);
        this.orbs.delete(part.orb);
        if (orb) this.#happen({ kind: 'taken', orb, by: this.avatars.get(part.by) });
        break;
      }
      case 'bump': {
        const [one, other] = [this.avatars.get(part.one), this.avatars.get(part.other)];
        if (one && other) this.#happen({ kind: 'bump', one, other, strength: part.strength });
        break;
      }
      case 'round':
        this.round = { ...part, endsAt: now + part.leftMs, lengthMs: Math.max(part.leftMs, part.round === this.round.round && part.phase === this.round.phase ? this.round.lengthMs : 1) };
        this.#happen({ kind: 'round', ...part });
        break;
      case 'swept':
        this.orbs.clear();
        break;
    }
  }
}

/** Puts an avatar where it was at a time. */
function place(avatar, time) {
  const { samples } = avatar;
  while (samples.length > 2 && samples[1].time <= time) samples.shift();
  const [from, to] = samples;
  if (!from) return;
  const facts = to && to.time <= time ? to : from;
  [avatar.score, avatar.away, avatar.dazed, avatar.seen] = [facts.score, facts.away, facts.dazed, true];
  if (!to) {
    [avatar.x, avatar.y, avatar.radius] = [from.x, from.y, from.radius];
    return;
  }
  const step = to.time - from.time;
  const share = Math.max(0, Math.min((time - from.time) / step, 1 + Math.max(EXTRAPOLATION_MS / step, 1.2)));
  [avatar.vx, avatar.vy] = [(to.x - from.x) / step * 1000, (to.y - from.y) / step * 1000];
  avatar.x = from.x + (to.x - from.x) * share;
  avatar.y = from.y + (to.y - from.y) * share;
  // Growing is a matter of taste, not of truth: it is smoothed.
  avatar.radius += (facts.radius - avatar.radius) * 0.15;
}

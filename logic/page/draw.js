// Draws the scene on a canvas. Whatever glows is a picture made once and drawn with light adding up, which is quick.

import { hueOf } from './scene.js';

/** The shorter side of the window shows so many units of the map. */
const VIEW = 760;
const GRID = 100;
/** Beyond the walls so much is seen. */
const MARGIN = 90;
const TRAIL_MS = 420;
const SPARKS_MAX = 500;
const RINGS_MAX = 60;
const WORDS_MAX = 60;
const GOLD = 44;

const rgb = (colour, alpha = 1) => `rgb(${colour.join(' ')} / ${alpha})`;
const hsl = (hue, lightness, alpha = 1) => `hsl(${hue} 90% ${lightness}% / ${alpha})`;
const still = matchMedia('(prefers-reduced-motion: reduce)');

export class Drawing {
  #canvas;
  #pen;
  #glows = new Map();
  #sparks = [];
  #rings = [];
  #words = [];
  #shake = 0;
  #camera;
  #scale = 1;
  #last = 0;

  constructor(canvas) {
    this.#canvas = canvas;
    this.#pen = canvas.getContext('2d', { alpha: false });
  }

  /** Where a place of the map is in the window. */
  toWindow({ x, y }) {
    const camera = this.#camera ?? { x, y };
    return { x: (x - camera.x) * this.#scale + innerWidth / 2, y: (y - camera.y) * this.#scale + innerHeight / 2 };
  }

  /** Where an avatar is in the window, and how big. */
  spot(avatar) {
    return { ...this.toWindow(avatar), radius: avatar.radius * this.#scale };
  }

  draw(scene, steering, direction, now) {
    const seconds = Math.min(0.1, (now - this.#last) / 1000);
    this.#last = now;
    this.#fit();
    this.#follow(scene, seconds);
    this.#witness(scene);
    const pen = this.#pen;
    const ratio = this.#canvas.width / innerWidth;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = rgb(scene.map.ground);
    pen.fillRect(0, 0, innerWidth, innerHeight);
    const shaken = () => (Math.random() - 0.5) * this.#shake;
    const middle = this.toWindow({ x: 0, y: 0 });
    pen.setTransform(ratio * this.#scale, 0, 0, ratio * this.#scale, ratio * (middle.x + shaken()), ratio * (middle.y + shaken()));
    this.#shake = Math.max(0, this.#shake - 60 * seconds);

    this.#ground(scene);
    for (const orb of scene.orbs.values()) this.#orb(orb, now);
    const avatars = [...scene.avatars.values()].filter((avatar) => avatar.seen).sort((one, other) => one.radius - other.radius);
    const best = scene.ranking()[0];
    for (const avatar of avatars) this.#trail(avatar, now);
    for (const avatar of avatars) this.#avatar(avatar, avatar.number === scene.own, avatar === best && avatar.score > 0, now);
    if (scene.self) this.#arrow(scene.self, direction);
    else this.#ambience(scene, now);
    this.#effects(seconds, now);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (Math.min(innerWidth, innerHeight) > 480 && scene.self) this.#overview(scene);
    if (steering.stick) this.#stick(steering.stick);
  }

  /** One pixel of the canvas is one of the screen, up to three a pixel of the page. */
  #fit() {
    const ratio = Math.min(3, devicePixelRatio || 1);
    const [width, height] = [Math.round(innerWidth * ratio), Math.round(innerHeight * ratio)];
    if (this.#canvas.width !== width || this.#canvas.height !== height) Object.assign(this.#canvas, { width, height });
    this.#scale = Math.min(1.6, Math.max(0.72, Math.min(innerWidth, innerHeight) / VIEW));
  }

  #follow({ self, map }, seconds) {
    const goal = self?.seen ? self : { x: map.width / 2, y: map.height / 2 };
    const within = (at, end, view) => (view >= end + 2 * MARGIN ? end / 2 : Math.max(view / 2 - MARGIN, Math.min(end + MARGIN - view / 2, at)));
    const x = within(goal.x, map.width, innerWidth / this.#scale);
    const y = within(goal.y, map.height, innerHeight / this.#scale);
    const share = this.#camera ? 1 - Math.exp(-9 * seconds) : 1;
    const from = this.#camera ?? { x, y };
    this.#camera = { x: from.x + (x - from.x) * share, y: from.y + (y - from.y) * share };
  }

  /** Turns what has happened into sparks, rings and words. */
  #witness(scene) {
    for (const event of scene.happened.splice(0)) {
      if (event.kind === 'taken') {
        const { orb, by } = event;
        this.#burst(orb.x, orb.y, orb.value > 1 ? GOLD : 190, orb.value > 1 ? 14 : 6, 130);
        if (by?.number === scene.own && this.#words.length < WORDS_MAX) this.#words.push({ text: `+${orb.value}`, x: orb.x, y: orb.y, age: 0, hue: orb.value > 1 ? GOLD : 190 });
      } else if (event.kind === 'bump') {
        const { one, other, strength } = event;
        const share = one.radius / (one.radius + other.radius);
        const [x, y] = [one.x + (other.x - one.x) * share, one.y + (other.y - one.y) * share];
        this.#burst(x, y, hueOf(one.number), 6 + 18 * strength, 320);
        this.#burst(x, y, hueOf(other.number), 6 + 18 * strength, 320);
        if (this.#rings.length < RINGS_MAX) this.#rings.push({ x, y, age: 0, size: 40 + 120 * strength });
        if (!still.matches && (one.number === scene.own || other.number === scene.own)) this.#shake = 6 + 16 * strength;
      } else if (event.kind === 'gone') {
        this.#burst(event.avatar.x, event.avatar.y, hueOf(event.avatar.number), 26, 220);
      }
    }
  }

  #burst(x, y, hue, count, speed) {
    if (still.matches) return;
    for (let made = 0; made < count && this.#sparks.length < SPARKS_MAX; made += 1) {
      const [angle, pace] = [Math.random() * 2 * Math.PI, speed * (0.25 + 0.75 * Math.random())];
      this.#sparks.push({ x, y, vx: Math.cos(angle) * pace, vy: Math.sin(angle) * pace, hue, age: 0, life: 0.3 + 0.5 * Math.random() });
    }
  }

  #ground({ map }) {
    const pen = this.#pen;
    const light = pen.createRadialGradient(map.width / 2, map.height / 2, 0, map.width / 2, map.height / 2, map.width * 0.62);
    light.addColorStop(0, rgb(map.grid, 0.5));
    light.addColorStop(1, rgb(map.grid, 0));
    pen.fillStyle = light;
    pen.fillRect(0, 0, map.width, map.height);
    pen.beginPath();
    for (let x = GRID; x < map.width; x += GRID) { pen.moveTo(x, 0); pen.lineTo(x, map.height); }
    for (let y = GRID; y < map.height; y += GRID) { pen.moveTo(0, y); pen.lineTo(map.width, y); }
    pen.strokeStyle = rgb(map.grid, 0.75);
    pen.lineWidth = 1;
    pen.stroke();
    pen.lineJoin = 'round';
    for (const [width, alpha] of [[26, 0.05], [15, 0.08], [7, 0.16], [2, 0.9]]) {
      pen.strokeStyle = rgb(map.walls, alpha);
      pen.lineWidth = width;
      pen.beginPath();
      pen.roundRect(0, 0, map.width, map.height, 10);
      pen.stroke();
    }
  }

  /** A round light of this hue. */
  #glow(hue, x, y, radius, alpha) {
    const key = Math.round(hue / 4);
    let picture = this.#glows.get(key);
    if (!picture) {
      picture = Object.assign(document.createElement('canvas'), { width: 128, height: 128 });
      const pen = picture.getContext('2d');
      const light = pen.createRadialGradient(64, 64, 0, 64, 64, 64);
      for (const [at, strength] of [[0, 0.9], [0.35, 0.38], [0.7, 0.08], [1, 0]]) light.addColorStop(at, hsl(key * 4, 60, strength));
      pen.fillStyle = light;
      pen.fillRect(0, 0, 128, 128);
      this.#glows.set(key, picture);
    }
    const pen = this.#pen;
    pen.globalCompositeOperation = 'lighter';
    pen.globalAlpha = alpha;
    pen.drawImage(picture, x - radius, y - radius, 2 * radius, 2 * radius);
    pen.globalAlpha = 1;
    pen.globalCompositeOperation = 'source-over';
  }

  #disc(x, y, radius, style) {
    this.#pen.fillStyle = style;
    this.#pen.beginPath();
    this.#pen.arc(x, y, radius, 0, 2 * Math.PI);
    this.#pen.fill();
  }

  #orb(orb, now) {
    const big = orb.value > 1;
    // A frame has the time of its beginning: news may have come since.
    const age = Math.max(0, Math.min(1, (now - orb.bornAt) / 350));
    const eased = 1 - (1 - age) ** 3;
    const [fromX, fromY] = orb.from && !still.matches ? [orb.from.x, orb.from.y] : [orb.x, orb.y];
    const [x, y] = [fromX + (orb.x - fromX) * eased, fromY + (orb.y - fromY) * eased];
    const pulse = still.matches ? 1 : 1 + 0.12 * Math.sin(now / 380 + orb.number);
    const radius = (big ? 6 + 0.5 * Math.min(orb.value, 16) : 4.5) * eased * pulse;
    const hue = big ? GOLD : 190;
    this.#glow(hue, x, y, radius * 4.2, 0.55);
    this.#disc(x, y, radius, hsl(hue, 72));
    this.#disc(x, y, radius * 0.5, hsl(hue, 93));
  }

  /** Something to look at for whoever has not joined yet. */
  #ambience({ map }, now) {
    const time = still.matches ? 0 : now / 9000;
    for (let light = 0; light < 36; light += 1) {
      const x = map.width * (0.5 + 0.48 * Math.sin(light * 2.4 + time * (1 + light % 3)));
      const y = map.height * (0.5 + 0.46 * Math.cos(light * 3.7 + time * (1 + light % 5) * 0.7));
      this.#glow(light % 6 === 0 ? GOLD : 190 + 6 * (light % 7), x, y, 18 + 14 * (light % 4), 0.5);
    }
  }

  /** A tail that tapers off: one shape, so that no part of it shines through another. */
  #trail({ trail, number, radius, away, x, y }, now) {
    if (still.matches) return;
    trail.push({ x, y, at: now });
    while (trail.length && now - trail[0].at > TRAIL_MS) trail.shift();
    const end = trail[0];
    if (Math.hypot(x - end.x, y - end.y) < radius * 0.5) return;
    const sides = [[], []];
    for (let place = 1; place < trail.length; place += 1) {
      const [from, to] = [trail[place - 1], trail[place]];
      const length = Math.hypot(to.x - from.x, to.y - from.y);
      if (length < 0.01) continue;
      const width = radius * 0.85 * (1 - (now - to.at) / TRAIL_MS);
      const [nx, ny] = [-(to.y - from.y) / length * width, (to.x - from.x) / length * width];
      sides[0].push([to.x + nx, to.y + ny]);
      sides[1].unshift([to.x - nx, to.y - ny]);
    }
    const pen = this.#pen;
    const light = pen.createLinearGradient(end.x, end.y, x, y);
    light.addColorStop(0, hsl(hueOf(number), 55, 0));
    light.addColorStop(1, hsl(hueOf(number), 60, away ? 0.1 : 0.42));
    pen.fillStyle = light;
    pen.beginPath();
    pen.moveTo(end.x, end.y);
    for (const point of sides.flat()) pen.lineTo(...point);
    pen.fill();
  }

  #avatar(avatar, own, best, now) {
    const pen = this.#pen;
    const { x, y, radius, number } = avatar;
    const hue = hueOf(number);
    pen.save();
    if (avatar.away) pen.globalAlpha = 0.28;
    else this.#glow(hue, x, y, radius * (own ? 2.5 : 2.1), avatar.dazed ? 0.25 : 0.6);
    const body = pen.createRadialGradient(x - radius * 0.35, y - radius * 0.4, radius * 0.1, x, y, radius);
    body.addColorStop(0, hsl(hue, 80));
    body.addColorStop(0.6, hsl(hue, 56));
    body.addColorStop(1, hsl(hue, 38));
    this.#disc(x, y, radius, body);
    pen.lineWidth = own ? 3 : 1.5;
    pen.strokeStyle = own ? 'rgb(255 255 255 / 0.95)' : hsl(hue, 76, 0.9);
    if (avatar.away) pen.setLineDash([6, 6]);
    pen.beginPath();
    pen.arc(x, y, radius, 0, 2 * Math.PI);
    pen.stroke();
    pen.setLineDash([]);
    this.#eyes(avatar);
    if (avatar.dazed && !avatar.away) this.#daze(x, y, radius, now);
    if (best) this.#crown(x, y - radius - 7);
    pen.textAlign = 'center';
    pen.font = `${own ? 650 : 500} 13px system-ui, sans-serif`;
    pen.lineWidth = 3;
    pen.strokeStyle = 'rgb(0 0 0 / 0.55)';
    pen.fillStyle = own ? '#fff' : 'rgb(232 238 252 / 0.85)';
    pen.strokeText(avatar.nick, x, y + radius + 17);
    pen.fillText(avatar.nick, x, y + radius + 17);
    pen.restore();
  }

  /** They look where they go. */
  #eyes({ x, y, vx, vy, radius, dazed }) {
    const speed = Math.hypot(vx, vy);
    const [nx, ny] = speed > 15 ? [vx / speed, vy / speed] : [0, 0];
    for (const side of [-1, 1]) {
      const eyeX = x + nx * radius * 0.34 - ny * side * radius * 0.34 + (speed > 15 ? 0 : side * radius * 0.34);
      const eyeY = y + ny * radius * 0.34 + nx * side * radius * 0.34 - (speed > 15 ? 0 : radius * 0.1);
      this.#disc(eyeX, eyeY, radius * 0.2, 'rgb(255 255 255 / 0.95)');
      this.#disc(eyeX + nx * radius * 0.07, eyeY + ny * radius * 0.07, radius * (dazed ? 0.05 : 0.1), '#0b1020');
    }
  }

  #daze(x, y, radius, now) {
    for (let star = 0; star < 3; star += 1) {
      const angle = now / 160 + star * 2.1;
      this.#disc(x + Math.cos(angle) * radius * 0.9, y - radius * 0.75 + Math.sin(angle) * radius * 0.25, 2.4, hsl(GOLD, 75));
    }
  }

  #crown(x, y) {
    const pen = this.#pen;
    pen.fillStyle = hsl(GOLD, 64);
    pen.beginPath();
    pen.moveTo(x - 11, y);
    for (const [dx, dy] of [[-13, -13], [-5, -6], [0, -16], [5, -6], [13, -13], [11, 0]]) pen.lineTo(x + dx, y + dy);
    pen.closePath();
    pen.fill();
  }

  /** Shows at once where one steers, before the server has heard of it. */
  #arrow({ x, y, radius, away }, [dx, dy]) {
    const strength = Math.hypot(dx, dy);
    if (strength < 0.1 || away) return;
    const pen = this.#pen;
    const [nx, ny] = [dx / strength, dy / strength];
    const far = radius + 12 + 12 * strength;
    pen.fillStyle = `rgb(255 255 255 / ${0.25 + 0.45 * strength})`;
    pen.beginPath();
    const corner = (along, aside) => [x + nx * along - ny * aside, y + ny * along + nx * aside];
    pen.moveTo(...corner(far + 8, 0));
    for (const [along, aside] of [[far - 8, 8], [far - 3, 0], [far - 8, -8]]) pen.lineTo(...corner(along, aside));
    pen.fill();
  }

  #effects(seconds) {
    const pen = this.#pen;
    const alive = (list, life) => list.filter((one) => { one.age += seconds; return one.age < (one.life ?? life); });
    this.#sparks = alive(this.#sparks);
    pen.globalCompositeOperation = 'lighter';
    for (const spark of this.#sparks) {
      spark.x += spark.vx * seconds;
      spark.y += spark.vy * seconds;
      spark.vx *= 1 - 2.5 * seconds;
      spark.vy *= 1 - 2.5 * seconds;
      const left = 1 - spark.age / spark.life;
      this.#disc(spark.x, spark.y, 3 * left, hsl(spark.hue, 68, left));
    }
    this.#rings = alive(this.#rings, 0.45);
    for (const ring of this.#rings) {
      const share = ring.age / 0.45;
      pen.strokeStyle = `rgb(255 255 255 / ${0.5 * (1 - share)})`;
      pen.lineWidth = 5 * (1 - share);
      pen.beginPath();
      pen.arc(ring.x, ring.y, ring.size * (1 - (1 - share) ** 2), 0, 2 * Math.PI);
      pen.stroke();
    }
    pen.globalCompositeOperation = 'source-over';
    this.#words = alive(this.#words, 0.9);
    pen.font = '700 17px system-ui, sans-serif';
    pen.textAlign = 'center';
    for (const word of this.#words) {
      pen.fillStyle = hsl(word.hue, 75, 1 - word.age / 0.9);
      pen.fillText(word.text, word.x, word.y - 20 - 45 * word.age);
    }
  }

  /** The whole map, small, in the corner. */
  #overview({ map, avatars, orbs, own }) {
    const pen = this.#pen;
    const width = 168;
    const scale = width / map.width;
    const [left, top] = [14, innerHeight - map.height * scale - 14];
    pen.fillStyle = 'rgb(14 19 36 / 0.7)';
    pen.strokeStyle = rgb(map.walls, 0.35);
    pen.lineWidth = 1;
    pen.beginPath();
    pen.roundRect(left, top, width, map.height * scale, 6);
    pen.fill();
    pen.stroke();
    for (const orb of orbs.values()) {
      pen.fillStyle = orb.value > 1 ? hsl(GOLD, 65, 0.9) : hsl(190, 65, 0.5);
      pen.fillRect(left + orb.x * scale - 0.75, top + orb.y * scale - 0.75, 1.5, 1.5);
    }
    for (const avatar of avatars.values()) {
      if (!avatar.seen) continue;
      const mine = avatar.number === own;
      this.#disc(left + avatar.x * scale, top + avatar.y * scale, mine ? 4 : 3, mine ? '#fff' : hsl(hueOf(avatar.number), 60, avatar.away ? 0.3 : 1));
    }
  }

  #stick({ fromX, fromY, x, y }) {
    const pen = this.#pen;
    pen.strokeStyle = 'rgb(255 255 255 / 0.25)';
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(fromX, fromY, 60, 0, 2 * Math.PI);
    pen.stroke();
    this.#disc(x, y, 24, 'rgb(255 255 255 / 0.3)');
  }
}

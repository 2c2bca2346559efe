// A player of the arena: it heads for the orb that is nearest, for as long as the engine lets it.
import { connect } from '../hotseat.js';
import { readNews } from '../../../logic/page/news.js';

const session = connect({ url: process.argv[2] ?? 'tcp://127.0.0.1:12345', hello: 'Collector' });
const orbs = new Map();
let own, self;
session.on('joined', ({ player, version }) => console.log(`player ${player} on version ${version}`));
session.on('version', ({ version }) => console.log(`now on version ${version}`));
session.on('disconnected', ({ retryInMs }) => console.log(`lost; back in ${Math.round(retryInMs)} ms`));
session.on('closed', ({ reason }) => console.log(`over: ${reason}`));
session.on('message', ({ bytes }) => {
  for (const part of readNews(bytes)) {
    if (part.kind === 'you') own = part.number;
    if (part.kind === 'you' || part.kind === 'swept') orbs.clear();
    if (part.kind === 'orb') orbs.set(part.number, part);
    if (part.kind === 'taken') orbs.delete(part.orb);
    if (part.kind === 'state') self = part.avatars.find(({ number }) => number === own) ?? self;
  }
  if (!self || !orbs.size) return;
  const far = ({ x, y }) => Math.hypot(x - self.x, y - self.y) + 0.001;
  const goal = [...orbs.values()].reduce((one, other) => (far(one) < far(other) ? one : other));
  session.send(Int8Array.of(127 * (goal.x - self.x) / far(goal), 127 * (goal.y - self.y) / far(goal)));
});

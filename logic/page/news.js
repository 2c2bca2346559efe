// Takes the arena's messages apart: logic/src/news.rs says what is in them.

/** What this page can read. The logic raises it when an older page could not. */
const FORMAT = 1;

const decoder = new TextDecoder();

/** A message of a format that this page does not know: it must be loaded anew. */
export class UnknownNews extends Error {}

/** The parts of a message, each with its `kind`. */
export function readNews(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const u8 = () => view.getUint8(at++);
  const u16 = () => { at += 2; return view.getUint16(at - 2, true); };
  const u32 = () => { at += 4; return view.getUint32(at - 4, true); };
  const share = () => u16() / 65535;
  const colour = () => [u8(), u8(), u8()];
  const text = () => { const from = at + 1; at = from + view.getUint8(at); return decoder.decode(bytes.subarray(from, at)); };
  const many = (count, one) => Array.from({ length: count }, one);

  const readers = {
    1: () => {
      const format = u8();
      if (format !== FORMAT) throw new UnknownNews(`this page reads format ${FORMAT}, the arena speaks ${format}`);
      return { kind: 'rules', width: u16(), height: u16(), ground: colour(), grid: colour(), walls: colour() };
    },
    2: () => ({ kind: 'you', number: u16() }),
    3: () => ({ kind: 'face', number: u16(), bot: u8() === 1, nick: text() }),
    4: () => ({ kind: 'gone', number: u16() }),
    5: () => ({ kind: 'orb', number: u16(), x: share(), y: share(), value: u8(), from: u16() }),
    6: () => ({ kind: 'taken', orb: u16(), by: u16() }),
    7: () => ({ kind: 'bump', one: u16(), other: u16(), strength: u8() / 255 }),
    8: () => ({
      kind: 'round', phase: u8(), round: u32(), leftMs: u32(),
      podium: many(u8(), () => ({ number: u16(), score: u32(), nick: text() })),
    }),
    9: () => ({ kind: 'swept' }),
    10: () => ({ kind: 'state', ms: u32(), avatars: many(u16(), avatar) }),
  };
  function avatar() {
    const [number, x, y, score, radius, flags] = [u16(), share(), share(), u16(), u8() / 2, u8()];
    return { number, x, y, score, radius, away: (flags & 1) !== 0, dazed: (flags & 2) !== 0 };
  }

  const parts = [];
  while (at < bytes.length) {
    const kind = u8();
    if (!readers[kind]) throw new UnknownNews(`this page knows no part of kind ${kind}`);
    parts.push(readers[kind]());
  }
  return parts;
}

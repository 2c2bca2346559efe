// Compiled, never run: what the type declarations allow, and what they refuse.

import { InputTooLong, QueueFull, Session, connect } from '../hotseat';

const session: Session = connect({ url: 'ws://127.0.0.1:12345/ws', room: 'main', hello: 'Ann', token: undefined });
const stop: () => void = session.on('joined', ({ player, resumed, token }) => {
  const facts: [number, boolean, string] = [player, resumed, token];
  session.send(`${facts}`);
});
session.on('message', ({ bytes, tick }) => { const first: number = bytes[0] + tick; session.send(Uint8Array.of(first)); });
session.on('forgotten', ({ count }) => { const inputs: number = count; session.send(`${inputs}`); });
session.on('overtaken', ({ count, unsure }) => { const inputs: number = count + unsure; session.send(`${inputs}`); });
session.on('closed', ({ code, reason }) => { const line: string = `${code} ${reason}`; session.send(line); stop(); throw new QueueFull(1, 2); });
session.on('disconnected', () => { throw new InputTooLong(2, 1); });
const rtt: number | undefined = session.rtt;
const number: number = session.send(new ArrayBuffer(rtt ?? 0));

// @ts-expect-error there is no such event
session.on('jioned', () => {});
// @ts-expect-error there is no such option
connect({ url: 'ws://127.0.0.1/', rom: 'main' });
// @ts-expect-error an engine is needed
connect({ room: 'main' });
// @ts-expect-error the engine gives the number
session.player = number;
// @ts-expect-error a message is bytes or text
session.send(5);

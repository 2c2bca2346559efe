/** A player's session with a Hotseat engine, for browsers and Node. */

export interface Options {
  /** `ws://HOST:PORT/ws`, `wss://…`, or, in Node, `tcp://HOST:PORT`. */
  url: string | URL;
  /** The room to join; without it that of the URL's `?room=`, or `main`. */
  room?: string;
  /** For the logic's `join`: text goes as UTF-8. */
  hello?: Message;
  /** What the engine's auth hook wants: a shared secret or a JWT. */
  credentials?: string;
  /** A resume token from before: the session resumes instead of joining. Null or empty is none. */
  token?: string | null;
  /** Where there is no global one: Node before 22. */
  WebSocket?: new (url: string, protocol: string) => unknown;
  /** Milliseconds before the first attempt to come back (250); doubled with each one up to `retryMsMax` (8000). */
  retryMs?: number;
  retryMsMax?: number;
  /** A connection that stays silent for so many milliseconds counts as gone (10000). */
  silenceMs?: number;
  /** Milliseconds between two measurements of the round trip (2000). */
  pingMs?: number;
  /** Inputs that may wait for the engine (1024), and their bytes (1 MiB). */
  queuedInputsMax?: number;
  queuedBytesMax?: number;
  /** Bytes of one input (65531): the `frame_bytes_max` of the engine, less the 5 before them. The Join is not to be longer either. */
  inputBytesMax?: number;
  /**
   * Inputs that go out in a second (150), with up to 64 at once; more wait in the queue. Above the `frames_per_second_max`
   * of the engine it closes the connection.
   */
  inputsPerSecondMax?: number;
}

export type Message = string | ArrayBuffer | ArrayBufferView;

export interface Events {
  /** The player is in the room; again after each time the session has come back. */
  joined: {
    player: number;
    resumed: boolean;
    room: string;
    /** Kept by whoever wants to come back later, from anywhere: it is as good as the player. */
    token: string;
    version: number;
    versionName: string;
    ticksPerSecond: number;
  };
  /**
   * The engine's machine lost its power, and with it so many of the last inputs that the engine had consumed. Those that
   * wait, and those that come, have numbers that are lower by `count` than they were to be.
   */
  forgotten: { count: number };
  /**
   * While the connection was gone, somebody else came with the player's token and sent at least `count` inputs. Of those that
   * were sent from here and not known to be consumed, `unsure` may never have come; they are not sent again. Those that had not
   * been sent, and those that come, have numbers that are higher by `count` than they were to be.
   */
  overtaken: { count: number; unsure: number };
  /** Bytes from the logic. */
  message: { bytes: Uint8Array; tick: number; consumed: number };
  /** The room runs another version from here on. */
  version: { version: number; versionName: string };
  /** The room went back in time: what is known of it may not hold. The name is empty if this session has not heard it before. */
  resync: { version: number; versionName: string; reason: string; tick: number };
  /** For whoever develops the game: 0 over, 1 information, 2 error. */
  notice: { severity: number; text: string };
  /**
   * An input was not applied, or, with number 0, the logic failed on the player's return. The session goes on. The text
   * names the callback that failed and a reference for whoever runs the engine.
   */
  error: { code: number; number: number; text: string };
  /** A round trip was measured: milliseconds. */
  rtt: { rtt: number };
  /** The connection is gone; the session tries to come back. */
  disconnected: { code: number; reason: string; retryInMs: number };
  /**
   * The session is over: a close code of the protocol, or 0 after `close()`, if the engine never heard of a `leave()`, or if
   * no WebSocket can be made (a fragment in the URL, `ws:` from a page of `https:`).
   */
  closed: { code: number; reason: string };
}

/**
 * Begins a session. It connects, and joins or resumes, on its own; listen to its events.
 * @throws TypeError for an option that there is not, or a value that can never work.
 */
export function connect(options: Options): Session;

/** An input that was not taken: too many wait for the engine already. */
export class QueueFull extends Error {
  constructor(inputs: number, bytes: number);
}

/** An input that was not taken: it is longer than the engine takes. */
export class InputTooLong extends Error {
  constructor(bytes: number, bytesMax: number);
}

export class Session {
  constructor(options: Options);
  /** 0 until joined; so the other facts. */
  readonly player: number;
  readonly room: string;
  readonly token: string | undefined;
  readonly version: number;
  readonly versionName: string;
  /** 0 in a room that does not tick. */
  readonly ticksPerSecond: number;
  /** Of the frame that came last. */
  readonly tick: number;
  /** The number of the last input that the engine has consumed. */
  readonly consumed: number;
  /** The last round trip in milliseconds. */
  readonly rtt: number | undefined;
  readonly state: 'connecting' | 'joined' | 'waiting' | 'closed';
  /** Inputs that the engine has not consumed yet. */
  readonly unconsumed: number;
  /** Listens to an event; gives a function that stops it. */
  on<Name extends keyof Events>(event: Name, listener: (detail: Events[Name]) => void): () => void;
  /**
   * Sends an input, now or once there is a connection; gives its number.
   * @throws QueueFull if too many wait already; InputTooLong for one above `inputBytesMax`; TypeError for what is no message;
   * Error if the session is over.
   */
  send(message: Message): number;
  /**
   * Leaves the room for good, once the engine has what was sent before. A session whose connection is gone comes back to
   * say it, for up to ten seconds; `closed` tells the end.
   */
  leave(): void;
  /** Hangs up without leaving: whoever has the token may come back within the engine's grace. */
  close(): void;
}

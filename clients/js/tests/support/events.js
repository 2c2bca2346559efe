// Waiting for what happens to a session.

const EVENTS = ['joined', 'forgotten', 'overtaken', 'message', 'version', 'resync', 'notice', 'error', 'rtt', 'disconnected', 'closed'];

/** Writes down what happens to a session, and lets the test wait for it. */
export function watch(session) {
  const happened = [];
  const waiting = [];
  for (const name of EVENTS) {
    session.on(name, (detail) => {
      happened.push({ name, ...detail });
      waiting.splice(0).forEach((wake) => wake());
    });
  }
  /** Takes the next event of this name, for which `is` holds; those before it are passed over. */
  const event = async (name, is = () => true) => {
    for (;;) {
      const at = happened.findIndex((one) => one.name === name && is(one));
      if (at >= 0) return happened.splice(0, at + 1).at(-1);
      await new Promise((wake) => waiting.push(wake));
    }
  };
  return { happened, event };
}

export { EVENTS };

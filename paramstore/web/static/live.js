// The stream of journal entries. Read with fetch and not with EventSource, which cannot carry a token.

import * as api from 'app/api';

const SILENT_MS = 45000; // the server says something every 15 s
const TOKEN_MS = 300;
const REST_MS = [300, 1000, 2000, 5000, 10000];

export const live = { on: false, since: Date.now(), problem: null };

let last = null; // id of the newest entry that has arrived
let begun = false;
let running = null;

/** Follow the journal for as long as the page is open. `tell(name, data)` is called for each event, in
 * order, and `changed()` when the connection comes or goes. */
export async function follow(tell, changed) {
  running?.abort();
  const mine = (running = new AbortController());
  for (let tries = 0; !mine.signal.aborted; tries += 1) {
    let rest = REST_MS[Math.min(tries, REST_MS.length - 1)];
    try {
      await one(mine.signal, tell, () => {
        tries = 0;
        set(true, null, changed);
      });
    } catch (problem) {
      if (mine.signal.aborted) return;
      set(false, problem, changed);
      if (problem.status === 401) {
        await otherToken(mine.signal);
        live.problem = null;
        continue;
      }
      rest = Math.max(rest, (problem.retryAfter || 0) * 1000);
    }
    set(false, live.problem, changed);
    await new Promise((go) => setTimeout(go, rest * (0.75 + Math.random() / 2)));
  }
}

/** Wait until somebody has given another token. */
async function otherToken(stop) {
  const refused = api.token.get();
  while (api.token.get() === refused && !stop.aborted) await new Promise((go) => setTimeout(go, TOKEN_MS));
}

function set(on, problem, changed) {
  if (on !== live.on) live.since = Date.now();
  live.on = on;
  live.problem = problem;
  changed();
}

async function one(stop, tell, opened) {
  const watch = new AbortController();
  const end = () => watch.abort();
  stop.addEventListener('abort', end);
  let timer = setTimeout(end, SILENT_MS);
  try {
    const known = last ? { 'Last-Event-ID': last } : {};
    const answer = await fetch('/api/v1/events', {
      headers: api.headers({ Accept: 'text/event-stream', ...known }),
      cache: 'no-store',
      credentials: 'omit',
      signal: watch.signal,
    }).catch(() => {
      throw api.unreachable();
    });
    if (!answer.ok) await api.readAnswer(answer);
    opened();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    const events = parser((event) => take(event, tell));
    for (;;) {
      const { value, done } = await reader.read().catch(() => ({ done: true }));
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(end, SILENT_MS);
      events(value);
    }
  } finally {
    clearTimeout(timer);
    stop.removeEventListener('abort', end);
    end(); // or a reader that threw would leave the connection open
  }
}

function take(event, tell) {
  const data = event.data ? api.parse(event.data) : null;
  // The first hello says where we begin. On a return it must not: what was missed is still to come.
  if (event.name === 'reload') last = null;
  tell(event.name, data);
  if (event.name === 'hello') {
    // Who comes back without a place, since nothing came after all was read anew, may have missed anything.
    if (begun && !last) tell('reload', null);
    last ??= data.newest;
    begun = true;
  }
  if (event.id) last = event.id;
}

/** Return a function that takes pieces of text as they come and tells each whole event. */
function parser(tell) {
  let rest = '';
  let event = { name: 'message', data: '', id: '' };
  return (piece) => {
    const lines = (rest + piece).split('\n');
    rest = lines.pop();
    for (const raw of lines) {
      const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw;
      if (line === '') {
        if (event.data || event.name === 'reload') tell(event);
        event = { name: 'message', data: '', id: '' };
      } else field(event, line);
    }
  };
}

function field(event, line) {
  const colon = line.indexOf(':');
  if (colon === 0) return; // a comment: the connection is alive
  const name = colon < 0 ? line : line.slice(0, colon);
  const text = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
  if (name === 'event') event.name = text;
  else if (name === 'id') event.id = text;
  else if (name === 'data') event.data += event.data ? `\n${text}` : text;
}

// The one place that talks to the server. In a report the same answers are embedded in the page.

import { parse } from 'app/exact';

const ROOT = '/api/v1/';
const TOKEN = 'paramstore-token'; // in sessionStorage: it is gone when the tab is closed
const KEPT_ANSWERS = 24;

/** An answer that is no success, or none at all (status 0). `detail` is a whole sentence. */
export class Problem extends Error {
  constructor(status, body, retryAfter = 0) {
    super(body.detail || body.title || `The server answered ${status}.`);
    this.status = status;
    this.detail = this.message;
    this.body = body;
    this.retryAfter = retryAfter;
  }
}

const unreachable = () =>
  new Problem(0, { detail: 'The server does not answer. Is `paramstore serve` still running?' });

// --- numbers --------------------------------------------------------------------------------------

/** A number as it was typed, digit by digit. Throws where this browser would round it. */
export function typedNumber(text) {
  if (JSON.rawJSON) return JSON.rawJSON(text);
  const number = Number(text);
  if (!/[.e]/i.test(text) && !Number.isSafeInteger(number)) {
    throw new Problem(0, { detail: `This browser cannot send ${text} without rounding it; the command line can.` });
  }
  return number;
}

/** Write JSON; a BigInt is written digit by digit, where the browser can. */
const write = (data) =>
  JSON.stringify(data, (key, value) =>
    typeof value === 'bigint' ? (JSON.rawJSON ? JSON.rawJSON(String(value)) : Number(value)) : value,
  );

// --- addresses ------------------------------------------------------------------------------------

const whole = (path) => (path.startsWith('/') ? path : ROOT + path);

/** Like encodeURIComponent, which throws for half a character; the journal may hold such. */
export const encode = (text) => encodeURIComponent(String(text).replace(/\p{Surrogate}/gu, '\ufffd'));

/** Build a path from parts and a query: `path(['parameters', key], {at: ['symbol=BTC'], limit: 5})`. */
export function path(parts, query = {}) {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== undefined && one !== null && one !== '') words.append(name, one);
    }
  }
  const said = words.toString();
  return ROOT + parts.map(encode).join('/') + (said ? `?${said}` : '');
}

// --- the embedded answers of a report --------------------------------------------------------------

const element = document.getElementById('embedded');
const answers = element ? parse(element.textContent) : null;
export const embedded = answers !== null;

/** Look up an answer. Of a query only the context counts: a report holds for the rest all that there is. */
function fromReport(address) {
  const [bare, query = ''] = address.slice(ROOT.length).split(/\?(.*)/s);
  const context = new URLSearchParams(query).getAll('at').sort();
  const name = decodeURIComponent(bare) + context.map((word, i) => `${i ? '&' : '?'}at=${word}`).join('');
  if (Object.hasOwn(answers, name)) return answers[name];
  throw new Problem(404, { detail: 'This report does not hold that. The page of `paramstore serve` does.' });
}

// --- requests -------------------------------------------------------------------------------------

export const token = {
  get: () => sessionStorage.getItem(TOKEN) || '',
  set: (text) => (text ? sessionStorage.setItem(TOKEN, text) : sessionStorage.removeItem(TOKEN)),
};

export function headers(more = {}) {
  return token.get() ? { ...more, Authorization: `Bearer ${token.get()}` } : more;
}

const kept = new Map(); // path → {etag, data}, so that what did not change is not sent again

function keep(address, etag, data) {
  kept.delete(address);
  kept.set(address, { etag, data });
  if (kept.size > KEPT_ANSWERS) kept.delete(kept.keys().next().value);
}

/** Fetch and parse an answer. Throws `Problem`. The answer may be shared: do not change it. */
export async function get(where, { signal } = {}) {
  const address = whole(where);
  if (embedded) return fromReport(address);
  const known = kept.get(address);
  const answer = await ask(address, {
    headers: headers({ Accept: 'application/json', ...(known && { 'If-None-Match': known.etag }) }),
    signal,
  });
  if (answer.status === 304 && known) return known.data;
  const data = await read(answer);
  const etag = answer.headers.get('ETag');
  if (etag) keep(address, etag, data);
  return data;
}

/** Send an action. Throws `Problem`, whose `body` holds `violations` or `preview` where there are any. */
export async function post(where, body) {
  if (embedded) throw new Problem(403, { detail: 'A report only shows; nothing can be changed from it.' });
  return read(
    await ask(whole(where), {
      method: 'POST',
      headers: headers({ 'Content-Type': 'application/json', Accept: 'application/json' }),
      body: write(body),
    }),
  );
}

async function ask(address, options) {
  try {
    return await fetch(address, { cache: 'no-store', redirect: 'error', credentials: 'omit', ...options });
  } catch (error) {
    throw error.name === 'AbortError' ? error : unreachable();
  }
}

async function read(answer) {
  let data;
  try {
    data = parse(await answer.text());
  } catch {
    data = null; // a proxy in between may answer with anything
  }
  if (answer.ok && data !== null) return data;
  const said = data && typeof data === 'object' ? data : {};
  throw new Problem(answer.status, said, Number(answer.headers.get('Retry-After')) || 0);
}

export { parse, read as readAnswer, unreachable };

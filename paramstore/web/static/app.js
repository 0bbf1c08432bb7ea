// The shell: it routes by the fragment, draws header and banners, follows the journal, and lets the page
// of the moment draw itself.

import { html, nothing, render } from 'lit-html';
import * as api from 'app/api';
import * as words from 'app/words';
import * as store from 'app/state';
import { act } from 'app/act';
import { tokenPlace } from 'app/act_views';
import { banners, header } from 'app/header';
import { listen } from 'app/keys';
import { follow, live } from 'app/live';
import { trouble } from 'app/parts';

const PAGES = {
  '': () => import('app/overview'),
  parameter: () => import('app/parameter'),
  revision: () => import('app/revision'),
  learners: () => import('app/learners'),
  learner: () => import('app/learners'),
  scorecard: () => import('app/scorecard'),
  compare: () => import('app/compare'),
  history: () => import('app/history'),
};

const TICK_MS = 20000; // how often "12 min ago" is written anew
const UNWELL = [0, 503]; // what passes by itself
const RECOVER_MS = 5000;
const CODE_MS = 500; // after the first page has what it needs, the others are fetched
const { state } = store;
const place = (id) => document.getElementById(id);
place('main').replaceChildren(); // what stood there while the scripts were on their way

/** What every page is given. `health` is always the newest. */
const context = {
  api,
  words,
  act,
  navigate,
  rerender,
  embedded: api.embedded,
  get health() {
    return state.health;
  },
};

let page = null; // what the module of the page returned
let route = null;
let problem = null; // why there is no page
let arriving = 0; // counts navigations: an answer to an older one is thrown away
let busy = false;
let outdated = false; // what the page was read from is no longer there
const missed = new Set(); // for each page that is being read, what has happened since: its answers may be older

// --- routes ---------------------------------------------------------------------------------------

/** Read a fragment: `#/parameter/KEY?at=symbol%3DBTCUSDT` → {name, arg, query}. */
function routeOf(hash) {
  const [path, query = ''] = hash.replace(/^#\/?/, '').split(/\?(.*)/s);
  const [name, ...rest] = path.split('/');
  let arg = rest.join('/');
  try {
    arg = decodeURIComponent(arg);
  } catch {
    // A broken escape: what stands there is looked up as it is, and not found.
  }
  return { name, arg, query: new URLSearchParams(query), hash };
}

/** Go to a fragment. With `replace` it only takes the place of the present one, and nothing is read anew. */
function navigate(hash, { replace = false } = {}) {
  if (replace) {
    history.replaceState(null, '', hash);
    route = routeOf(hash);
    rerender();
  } else if (hash === location.hash) arrive();
  else location.hash = hash;
}

async function arrive() {
  if (location.hash === '#main') return; // the skip link
  const mine = (arriving += 1);
  const here = routeOf(location.hash);
  const another = route !== null && (here.name !== route.name || here.arg !== route.arg); // not at first: the header is read, too
  page?.leave?.();
  [page, problem, route, busy, outdated] = [null, null, here, true, false];
  rerender();
  try {
    await ready();
    if (!Object.hasOwn(PAGES, here.name)) throw new api.Problem(404, { detail: `There is no page #/${here.name}.` });
    await open(here, mine);
    if (mine !== arriving) return;
  } catch (error) {
    if (mine !== arriving) return;
    problem = error;
    if (!(error instanceof api.Problem)) console.error(error);
    if (UNWELL.includes(error.status)) recover(mine);
  }
  busy = false;
  if (outdated) renew().catch(() => {});
  draw();
  if (another) {
    scrollTo(0, 0);
    place('main').focus({ preventScroll: true });
  }
}

/** Read a page and let it stand for the present one. Entries that came while it was read are told to it at once. */
async function open(here, mine) {
  const module = await load(here.name);
  const entries = [];
  missed.add(entries);
  try {
    const found = await module.page(here, context);
    if (mine !== arriving) return found.leave?.();
    page?.leave?.();
    page = found;
    for (const entry of entries) page.event?.(entry);
  } finally {
    missed.delete(entries);
  }
}

/** Come back by itself, without a flicker, when a server that is away or cannot read its files is well again. */
function recover(mine) {
  setTimeout(async () => {
    if (mine !== arriving) return;
    try {
      await api.get('health');
    } catch {
      return recover(mine);
    }
    if (mine === arriving) arrive();
  }, RECOVER_MS);
}

/** The code of a page. All of it is fetched early, so that a server that goes away later takes no page with it. */
async function load(name) {
  try {
    return await PAGES[name]();
  } catch (error) {
    throw error instanceof TypeError ? api.unreachable() : error;
  }
}

// --- what every page needs -------------------------------------------------------------------------

let reading = null;

/** Read what stands, once; a failure is tried again with the next page. */
function ready() {
  reading ??= everything().catch((error) => {
    reading = null;
    throw error;
  });
  return reading;
}

async function everything() {
  await store.readHealth(); // first, so that what is read after it is no older than the revision it names
  await Promise.all([store.readFreezes(), store.readRows()]);
  store.readSparks().then(rerender, () => {}); // the tables stand without them
  store.readDoctor();
  if (!api.embedded) follow(told, connected);
  setTimeout(() => Object.values(PAGES).forEach((code) => code().catch(() => {})), CODE_MS);
}

/** The connection has come or gone. Where it is refused, the page asks for the token. */
function connected() {
  if (live.problem?.status === 401) problem = live.problem;
  rerender();
}

function told(name, data) {
  if (name === 'entry') takeEntry(data);
  else if (name === 'health') takeHealth(data);
  else if (name === 'hello') hello(data);
  else if (name === 'reload') again();
}

/** Take in where the journal stands, at the first connection and at each later one. */
function hello({ revision }) {
  store.laterDoctor(0); // a question may have been lost while the server was away
  if (outdated || revision !== state.health.revision) return again();
  // A freeze has no revision of its own; one that came just before the connection must not be missed.
  return Promise.all([store.readFreezes(), store.readRows()]).then(rerender, () => {});
}

function takeEntry(entry) {
  if (!store.takeEntry(entry)) return again();
  if (['freeze', 'unfreeze'].includes(entry.kind)) store.readFreezes().then(rerender, () => {});
  store.laterDoctor();
  say(entry);
  for (const entries of missed) entries.push(entry);
  page?.event?.(entry);
  rerender();
}

function takeHealth(health) {
  store.takeHealth({ ...state.health, ...health });
  store.readRows().then(rerender, () => {}); // files changed by hand: no entry tells what
  store.laterDoctor();
  page?.look?.(); // rules may have changed as well
  rerender();
}

/** Read everything anew and draw the page again where it is. */
async function again() {
  outdated = true;
  try {
    await store.readHealth();
    await Promise.all([store.readFreezes(), store.readRows(), store.readSparks()]);
    store.laterDoctor(0);
    await renew();
  } catch {
    // The stream says by itself that the server is away, and comes back here.
  }
  rerender();
}

/** Read the page of the moment anew where it is, but not under a dialog: then when that has closed. */
async function renew() {
  if (!outdated || busy || document.querySelector('dialog[open]')) return;
  if (!page) return void arrive();
  outdated = false;
  const mine = arriving;
  try {
    await open(route, mine);
  } catch (error) {
    if (mine !== arriving) return;
    if (!(error instanceof api.Problem) || UNWELL.includes(error.status)) {
      outdated = true; // until the server is back
      throw error;
    }
    page.leave?.(); // what it was about is gone: it must not stand there as if it were not
    [page, problem] = [null, error];
  }
  rerender();
}

// --- what is said aloud -----------------------------------------------------------------------------

const SAY_MS = 4000;
let unsaid = [];
let sayer = 0;

/** Tell screen readers of new entries: politely, and many at once in one sentence. */
function say(entry) {
  unsaid.push(entry);
  sayer ||= setTimeout(() => {
    const [one] = unsaid;
    place('said').textContent =
      unsaid.length === 1
        ? `Revision ${one.revision}: ${words.kind(one)} by ${one.author || 'unknown'}. ${words.summary(one, store.typeOf)}`
        : `${unsaid.length} new entries; revision ${unsaid.at(-1).revision} stands.`;
    [unsaid, sayer] = [[], 0];
  }, SAY_MS / 4);
}

// --- drawing ----------------------------------------------------------------------------------------

let asked = 0;

/** Draw soon: many wishes at once make one drawing. */
function rerender() {
  asked ||= requestAnimationFrame(draw);
}

function draw() {
  cancelAnimationFrame(asked);
  asked = 0;
  render(header(context, route ?? { name: '' }, live), place('header'));
  render(banners(context, live), place('banners'));
  render(content(), place('main'));
  const title = problem ? 'Trouble' : page?.title;
  page?.drawn?.();
  document.title = [title, state.health?.store ?? 'paramstore'].filter(Boolean).join(' · ');
}

function content() {
  if (problem) return problem.status === 401 ? tokenForm() : trouble(problem, arrive);
  if (!page) return html`<p class="state" role="status" aria-busy="true">${busy ? 'Reading…' : nothing}</p>`;
  try {
    return page.view();
  } catch (error) {
    console.error(error);
    return trouble(error, arrive);
  }
}

/** What is shown where even reading needs the token. */
function tokenForm() {
  const give = (event) => {
    event.preventDefault();
    api.token.set(new FormData(event.target).get('token').trim());
    arrive();
  };
  return html`<section class="state">
    <h1>This page needs its token</h1>
    <p>
      ${api.token.get()
        ? 'The token that was given is not the right one.'
        : tokenPlace()}
      It is kept until this tab is closed, and never becomes part of an address.
    </p>
    <form class="line" @submit=${give}>
      <label>Token <input name="token" type="password" required autocomplete="off" spellcheck="false" /></label>
      <button class="primary">Go on</button>
    </form>
  </section>`;
}

// --- start ------------------------------------------------------------------------------------------

addEventListener('hashchange', arrive);
for (const [name, printing] of [['beforeprint', true], ['afterprint', false]]) {
  addEventListener(name, () => {
    document.documentElement.toggleAttribute('data-printing', printing); // windowed tables draw all rows
    draw();
  });
}
setInterval(() => {
  // Whether a freeze has come to its end is for the server to say: this clock may be wrong.
  if (!api.embedded && state.freezes.some((freeze) => freeze.until)) store.readFreezes().then(() => page?.look?.(), () => {});
  rerender();
}, TICK_MS);
place('dialogs').addEventListener('close', () => renew().catch(() => {}), true); // it does not bubble
store.onDoctor(rerender);
act.start(context);
listen(context, () => page);
arrive();

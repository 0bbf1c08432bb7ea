// What stands now, kept by every page together and moved on by each journal entry, so that a commit
// never makes the page read everything anew.

import * as api from 'app/api';
import { author, isBase, matches, placeId, same } from 'app/words';

export const state = {
  health: null,
  freezes: [],
  rows: null, // as `list --json`, in the order of the schemas; null until read
  places: new Map(), // placeId → row
  notes: new Map(), // placeId → doctor's notes of one value
  owners: new Map(), // placeId → owner
  doctor: null,
  doctorProblem: null,
  sparks: new Map(), // placeId → {times, values}
  touched: new Map(), // placeId → when it last changed before our eyes, in ms
  version: 0, // counts every change of the above, so that what is derived can be kept
};

const SPARK_POINTS = 24;
const DOCTOR_REST_MS = 5000;
const PENDING_MS = 700; // until the first examination is asked for again

const moved = () => {
  state.version += 1;
};

/** The schema's type of a key, where it is known; numbers are written by it. */
export const typeOf = (key) => state.places.get(key)?.type ?? '';

// --- reading --------------------------------------------------------------------------------------

export async function readHealth() {
  takeHealth(await api.get('health'));
}

export function takeHealth(health) {
  state.health = health;
  moved();
}

export async function readFreezes() {
  state.freezes = await api.get('freezes');
  holdAll();
}

let arrived = []; // entries that came while something was being read: the answer may be older than they are
let reading = 0;

async function whileArriving(read) {
  reading += 1;
  try {
    await read();
  } finally {
    reading -= 1;
    if (!reading) arrived = [];
  }
}

export const readRows = () =>
  whileArriving(async () => {
    const rows = await api.get('parameters');
    state.rows = rows.map((row) => ({ ...row }));
    // Before anything is drawn, and in one order: so each author has the same sign on every page.
    for (const name of new Set(rows.map((row) => row.last_change?.author ?? '').sort())) author(name);
    index();
    for (const entry of arrived) takeChanges(entry);
    holdAll();
  });

export const readSparks = () =>
  whileArriving(async () => {
    const { revision, points } = await api.get('sparklines');
    state.sparks = new Map(
      points.map((p) => [placeId(p.key, p.context), { times: [...p.times], values: [...p.values], revision }]),
    );
    for (const entry of arrived.filter(moves)) for (const change of entry.changes) spark(entry, change);
    moved();
  });

let asking = null; // one question to the doctor at a time

export function readDoctor() {
  asking ??= doctor().finally(() => {
    asking = null;
  });
  return asking;
}

async function doctor() {
  try {
    const found = await api.get('doctor');
    state.doctorProblem = null;
    if (found.pending) return void wait(PENDING_MS);
    state.doctor = found;
    if (Date.now() - found.age_s * 1000 < wished) wait(DOCTOR_REST_MS); // it is older than what we have seen happen
    state.notes = new Map(found.parameters.map((p) => [placeId(p.key, p.context), p.notes]));
    state.owners = new Map(found.parameters.map((p) => [placeId(p.key, p.context), p.owner]));
  } catch (problem) {
    // The page stands without what the doctor says. That the server is away is said elsewhere.
    state.doctorProblem = problem.status ? problem : null;
  }
  moved();
  notify();
}

let timer = 0;
let wished = 0; // when something last happened that the doctor may have to say something of
let notify = () => {};

/** Say whom to tell when the doctor has answered. */
export const onDoctor = (tell) => {
  notify = tell;
};

/** Ask the doctor again in a while; many entries at once make one question. */
export function laterDoctor(rest = DOCTOR_REST_MS) {
  wished = Date.now();
  wait(rest);
}

function wait(rest) {
  if (timer || api.embedded) return;
  timer = setTimeout(() => {
    timer = 0;
    readDoctor();
  }, rest);
}

// --- moving on ------------------------------------------------------------------------------------

/** Take in one journal entry; harmless when it is known already. Tells whether that was all there is to do. */
export function takeEntry(entry) {
  if (state.health && entry.revision > state.health.revision) state.health.revision = entry.revision;
  if (reading) arrived.push(entry);
  takeChanges(entry);
  moved();
  // What an abort took back, and what a join of two histories brought, is not all told by its own line.
  return !['abort', 'merge'].includes(entry.kind);
}

const moves = (entry) => entry.kind !== 'refusal' && entry.kind !== 'abort';

function takeChanges(entry) {
  if (moves(entry)) for (const change of entry.changes) takeChange(entry, change);
}

function takeChange(entry, change) {
  if (!state.rows || isKept(change)) return;
  const id = placeId(change.key, change.context);
  const row = state.places.get(id);
  if (row && (row.last_change?.revision ?? -1) >= entry.revision) return;
  if (entry.revision === 0) return spark(entry, change); // it stood before it was written down: no change
  if (change.new === undefined) remove(id);
  else if (row) renew(row, entry, change);
  else if (!isBase(change.context)) addOverride(entry, change);
  spark(entry, change);
  state.touched.set(id, Date.now());
}

function renew(row, entry, change) {
  row.value = change.new;
  row.changed = !isBase(row.context) || !same(row.value, row.default);
  row.edited_by_hand = false;
  row.last_change = { revision: entry.revision, time: entry.time, author: entry.author };
}

function addOverride(entry, change) {
  const base = state.places.get(change.key);
  if (!base || !state.rows) return;
  const row = { ...base, context: change.context };
  renew(row, entry, change);
  let last = state.rows.indexOf(base);
  while (state.rows[last + 1]?.key === change.key) last += 1;
  state.rows.splice(last + 1, 0, row);
  index();
}

function remove(id) {
  if (!state.places.delete(id)) return;
  state.rows = state.rows.filter((row) => state.places.get(placeId(row.key, row.context)) === row);
}

const isKept = ({ old, new: now }) => old !== undefined && same(old, now);

/** Add a point. Revisions tell what is known: clocks are set back, and two changes may bear one time. */
function spark(entry, change) {
  const id = placeId(change.key, change.context);
  const known = state.sparks.get(id) ?? { times: [], values: [], revision: -1 };
  if (known.revision >= entry.revision || isKept(change)) return;
  const when = Date.parse(entry.time) / 1000;
  const first = known.times.length || change.old === undefined ? [] : [change.old];
  state.sparks.set(id, {
    times: [...known.times, ...first.map(() => when), when].slice(-SPARK_POINTS),
    values: [...known.values, ...first, change.new ?? null].slice(-SPARK_POINTS), // null: there was none
    revision: entry.revision,
  });
}

function index() {
  state.places = new Map(state.rows.map((row) => [placeId(row.key, row.context), row]));
  moved();
}

/** Mark what is frozen now. */
function holdAll() {
  for (const row of state.rows ?? []) {
    row.frozen = state.freezes.some((f) => matches(row.key, f.pattern));
  }
  moved();
}

/** Now, in ms; in a report the moment at which it was made, since it knows nothing of what came after it. */
export const present = () => (api.embedded ? Date.parse(state.health.made) : Date.now());

export const frozenAll = () => state.freezes.find((f) => f.pattern === '*');

// How things are written: as the command line writes them. Nothing here touches the page.

import { html, nothing } from 'lit-html';
import { pointed as wasPointed } from 'app/exact';

// --- values ---------------------------------------------------------------------------------------

/** Write a number as Python does, so that page, files and command line agree to the letter.
 * `type` is that of the schema: 'number' keeps its point (1.0), which JSON cannot tell. */
export function number(value, type = '') {
  if (typeof value === 'bigint') return String(value);
  if (Number.isSafeInteger(value) && type !== 'number') return String(value);
  // A browser that could not read so long a number exactly must not show it as if it had.
  if (Number.isInteger(value) && type === 'integer') return `≈ ${value}`;
  if (Object.is(value, -0)) return '-0.0';
  const [digits, power] = value.toExponential().split('e');
  const exponent = Number(power);
  if (exponent < -4 || exponent >= 16) {
    return `${digits}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
  }
  const text = exponent < 0 ? fixed(digits, exponent) : String(value);
  return text.includes('.') ? text : `${text}.0`;
}

function fixed(digits, exponent) {
  const sign = digits.startsWith('-') ? '-' : '';
  return `${sign}0.${'0'.repeat(-exponent - 1)}${digits.replace(/[-.]/g, '')}`;
}

/** Write a value the way `get` prints it: numbers exact, strings bare, structures as JSON. */
export function value(v, type = '') {
  if (v === undefined) return '';
  if (typeof v === 'string') return v;
  if (typeof v === 'number' || typeof v === 'bigint') return number(v, type);
  return json(v);
}

function json(v, pointed = false) {
  if (typeof v === 'number' || typeof v === 'bigint') return number(v, pointed ? 'number' : '');
  if (v === null || typeof v !== 'object') return JSON.stringify(v);
  const inside = (name) => json(v[name], wasPointed(v, name));
  if (Array.isArray(v)) return `[${v.map((_, at) => inside(at)).join(', ')}]`;
  return `{${Object.keys(v).map((name) => `${JSON.stringify(name)}: ${inside(name)}`).join(', ')}}`;
}

/** Write what `holder` has under `name`, where no schema tells its type: evidence, and the like. */
export const member = (holder, name) => value(holder[name], wasPointed(holder, name) ? 'number' : '');

/** Tell whether two values are the same; 1 and 1.0 are. */
export const same = (a, b) => a === b || JSON.stringify(a ?? null, whole) === JSON.stringify(b ?? null, whole);

const whole = (name, v) => (typeof v === 'bigint' ? `${v}n` : v);

/** Tell whether what came out is what was asked for but for digits that the schema does not keep. */
export function onlyRounded({ bound_by: rule, requested, old, new: now }) {
  if (rule !== 'decimals' || typeof requested !== 'number' || typeof now !== 'number') return false;
  const digits = Math.max(...[old, now].map((v) => (typeof v === 'number' ? (String(v).split('.')[1] ?? '').length : 0)));
  return Math.abs(requested - now) <= 0.51 * 10 ** -digits;
}

/** Write a change without its key; `undefined` is a value that is not there. */
export function change(before, after, type = '') {
  if (before === undefined && after === undefined) return 'stays as it is';
  if (before !== undefined && after !== undefined && same(before, after)) return `stays ${value(after, type)}`;
  if (before === undefined) return `set to ${value(after, type)}`;
  return `${value(before, type)} → ${after === undefined ? 'removed' : value(after, type)}`;
}

export const at = (context) =>
  `@${Object.entries(context).map(([name, v]) => `${name}=${value(v)}`).join(', ')}`;

export const isBase = (context) => !context || Object.keys(context).length === 0;

export const place = (key, context) => (isBase(context) ? key : `${key} ${at(context)}`);

/** A place as the key of a Map: contexts are the same whatever the order of their dimensions. */
export const placeId = (key, context) =>
  isBase(context) ? key : `${key} ${JSON.stringify(Object.entries(context).sort(([a], [b]) => (a < b ? -1 : 1)), whole)}`;

/** Write what values a parameter may have, as far as its schema limits them. */
export function bounds({ minimum, maximum, choices, type } = {}) {
  if (choices) return choices.map((v) => value(v)).join(' | ');
  const low = minimum ?? null;
  const high = maximum ?? null;
  const said = (v) => value(v, type === 'number' && Number.isInteger(v) ? '' : type);
  if (low !== null && high !== null) return `${said(low)} … ${said(high)}`;
  if (low !== null) return `≥ ${said(low)}`;
  return high === null ? '' : `≤ ${said(high)}`;
}

/** Where a number lies between its bounds, 0 to 1; null where that has no meaning. */
export function position(v, minimum, maximum) {
  const numbers = [v, minimum, maximum].every((x) => typeof x === 'number' || typeof x === 'bigint');
  if (!numbers || Number(maximum) <= Number(minimum)) return null;
  return (Number(v) - Number(minimum)) / (Number(maximum) - Number(minimum));
}

export const count = (n, one, many = `${one}s`) => `${n.toLocaleString('en')} ${n === 1 ? one : many}`;

// --- times ----------------------------------------------------------------------------------------

const date = (moment) => (typeof moment === 'number' ? new Date(moment * 1000) : new Date(moment));
const two = (n) => String(n).padStart(2, '0');

/** Write a time of the journal in UTC, in a form that `diff` and `rollback` take back. */
const utc = (moment) => date(moment).toISOString().replace(/\.\d+Z$/, 'Z');

/** Write a time as this place's clock shows it: 2026-01-31 14:05:09. */
export function local(moment) {
  const d = date(moment);
  const day = `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`;
  return `${day} ${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

/** Give a time that was typed without a zone the one in which this page shows times; anything else stays as it is. */
export function zoned(text) {
  const [, day, clock = '00:00'] = text.match(/^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?))?$/) ?? [];
  const moment = new Date(`${day}T${clock}`);
  return Number.isNaN(moment.getTime()) ? text : moment.toISOString();
}

/** Write a length of time, as people say it: 45 s, 12 min, 3 h, 2 d. Rounded as the doctor does: both may speak of one event. */
export function span(seconds) {
  const s = Math.abs(seconds);
  for (const [size, unit, most] of [[1, 's', 60], [60, 'min', 3600], [3600, 'h', 172800]]) {
    if (s < most) return `${Math.round(s / size)} ${unit}`;
  }
  return `${Math.round(s / 86400).toLocaleString('en')} d`;
}

export function agoText(moment) {
  const seconds = (Date.now() - date(moment).getTime()) / 1000;
  if (seconds < -5) return `in ${span(seconds)}`;
  return seconds < 5 ? 'just now' : `${span(seconds)} ago`;
}

const stamp = (moment, text) =>
  moment === undefined || moment === null || Number.isNaN(date(moment).getTime())
    ? nothing
    : html`<time datetime=${utc(moment)} title="${local(moment)} here, ${utc(moment)}">${text(moment)}</time>`;

/** A time (ISO text or seconds since 1970) as local time, with UTC in its title. */
export const time = (moment) => stamp(moment, local);

/** A time as "12 min ago", with the exact one in its title. */
export const ago = (moment) => stamp(moment, agoText);

// --- entries --------------------------------------------------------------------------------------

const KINDS = {
  commit: 'commit',
  external: 'edit by hand',
  rollback: 'rollback',
  freeze: 'freeze',
  unfreeze: 'end of a freeze',
  approve: 'approval',
  refusal: 'refusal',
  merge: 'join of two histories',
  abort: 'taken back',
};

export const kinds = KINDS;

export function kind(entry) {
  const word = KINDS[entry.kind] || entry.kind;
  return entry.details?.forced ? `${word}, forced` : word;
}

/** Say in a few words what an entry did. `type` gives the schema's type of a key, where known. */
export function summary(entry, type = () => '', shown = 3) {
  const changes = entry.changes || [];
  if (!changes.length) return told(entry);
  if (changes.length > shown && changes.every((c) => c.old === undefined)) {
    return `${changes.length} values, as first recorded`;
  }
  const said = changes
    .slice(0, shown)
    .map((c) => `${place(c.key, c.context)} ${change(c.old, c.new, type(c.key))}`);
  const more = changes.length - said.length;
  return said.join(', ') + (more > 0 ? `, and ${more} more` : '');
}

function told({ kind: what, details = {} }) {
  if (what === 'refusal') {
    const rules = new Set((details.violations || []).map((v) => `${v.key}: ${v.rule}`));
    return `refused ${[...rules].join('; ')}`;
  }
  if (what === 'approve') {
    return `approved ${count((details.baselines || []).length, 'value')} of ${details.pattern ?? ''}`;
  }
  return `${details.pattern ?? ''}${details.until ? ` until ${local(details.until)}` : ''}`;
}

// --- what words mean ------------------------------------------------------------------------------

/** Words of the page that are not everybody's, each in a sentence; docs/glossary.md has all of them. */
export const MEANINGS = {
  baseline: 'the value that a person last stood for; drift is measured from it',
  drift: 'how far a value is from its baseline',
  finding: 'something that the doctor thinks a person should look at',
  'back and forth': 'each of the last changes went against the one before it, as if nothing were learned',
  learnable: 'learners may change it; what is not is left to people',
  cooldown: 'the time that must pass between two changes of a value',
};

/** Whether a note asks for a look. What has never changed is told quietly: it would drown the others. */
export const isFinding = (note) => note.level === 'finding' && note.rule !== 'never_changed';

// --- authors --------------------------------------------------------------------------------------

export const HUES = 8;
export const SHAPES = 6;
const NEXT = 13; // another hue and another shape; it reaches every one of the 48

const signs = new Map(); // author → sign
const taken = new Set(); // of HUES × SHAPES

/** The sign of an author: a colour of the Okabe-Ito palette (`--author-N`) and a shape, since colour never is the only
 * sign. It follows from the name, so it is the same on every day; of two that would share one, the second to be seen takes the next. */
export function author(name = '') {
  const known = signs.get(name);
  if (known) return known;
  let hash = 2166136261; // FNV-1a: spreads names that differ in one letter
  for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 16777619) >>> 0;
  let place = hash % (HUES * SHAPES);
  while (taken.has(place) && taken.size < HUES * SHAPES) place = (place + NEXT) % (HUES * SHAPES);
  taken.add(place);
  const sign = { hue: place % HUES, shape: Math.floor(place / HUES), initials: initials(name) };
  signs.set(name, sign);
  return sign;
}

const initials = (name) =>
  (name.split(/[^\p{L}\p{N}]+/u).filter(Boolean).slice(0, 2).map((word) => [...word][0]).join('') || '?')
    .toUpperCase();

/** Tell whether a key matches a pattern as the store reads it: `*`, `?`, `[abc]`, `[!abc]`. */
export function matches(key, pattern) {
  let source = '';
  for (let i = 0; i < pattern.length; i += 1) {
    const letter = pattern[i];
    const end = letter === '[' ? pattern.indexOf(']', i + 2 + (pattern[i + 1] === '!')) : -1;
    if (letter === '*') source += '.*';
    else if (letter === '?') source += '.';
    else if (end > 0) {
      const inside = pattern.slice(i + 1, end).replace(/[\\^\]]/g, '\\$&');
      source += `[${inside.startsWith('!') ? `^${inside.slice(1)}` : inside}]`;
      i = end;
    } else source += letter.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
  }
  try {
    return new RegExp(`^(?:${source})$`, 's').test(key);
  } catch {
    return false; // a range written backwards matches nothing
  }
}

// Which rows the overview lists, and in which order. Pure but for what stands in `state`.

import { isBase, isFinding, placeId, position } from 'app/words';
import { state } from 'app/state';

export const COLUMNS = [
  { name: 'key', word: 'parameter', sort: 'key' },
  { name: 'value', word: 'value', sort: 'value', side: 'right' },
  { name: 'unit', word: 'unit', sort: 'unit' },
  { name: 'spark', word: 'changes' },
  { name: 'place', word: 'within bounds', sort: 'place' },
  { name: 'bounds', word: 'bounds' },
  { name: 'default', word: 'default', side: 'right' },
  { name: 'owner', word: 'learner', sort: 'owner' },
  { name: 'age', word: 'last change', sort: 'age' },
  { name: 'by', word: 'by', sort: 'by' },
  { name: 'notes', word: 'notes', sort: 'notes' },
];

const NAMES = ['q', 'ns', 'author', 'learnable', 'changed', 'frozen', 'finding', 'never', 'sort'];

export const filtersOf = (query) => Object.fromEntries(NAMES.map((name) => [name, query.get(name) ?? '']));

export const sortWord = (sort, name) =>
  !name || sort.replace(/^-/, '') !== name ? 'none' : sort.startsWith('-') ? 'descending' : 'ascending';

const namespaceOf = (key) => key.slice(0, key.indexOf('.'));
const findings = (id) => (state.notes.get(id) ?? []).filter(isFinding).length;

// --- what is derived from the state, kept while it stands ---------------------------------------------

let kept = { version: -1 };

/** Each row with what is looked up for it; made anew only when something has changed. */
function known() {
  if (kept.version === state.version) return kept;
  const items = (state.rows ?? []).map((row) => {
    const id = placeId(row.key, row.context);
    return { row, id, short: true, owner: state.owners.get(id) || '', findings: findings(id), text: '' };
  });
  kept = { version: state.version, items, ...options(items), found: null };
  return kept;
}

function options(items) {
  const namespaces = new Set();
  const authors = new Set();
  for (const { row, owner } of items) {
    namespaces.add(namespaceOf(row.key));
    if (owner) authors.add(owner);
    if (row.last_change?.author) authors.add(row.last_change.author);
  }
  return { namespaces: [...namespaces].sort(), authors: [...authors].sort() };
}

export const valuesOf = known;

function textOf(item) {
  const { row } = item;
  const said = (state.notes.get(item.id) ?? []).map((note) => `${note.rule} ${note.text}`);
  const where = Object.entries(row.context).map(([name, v]) => `${name}=${v}`);
  item.text ||= [row.key, ...where, row.unit, item.owner, row.last_change?.author, ...said].join('\n').toLowerCase();
  return item.text;
}

// --- filters --------------------------------------------------------------------------------------------

const TESTS = {
  learnable: (item) => item.row.learnable,
  changed: (item) => item.row.changed,
  frozen: (item) => item.row.frozen,
  finding: (item) => item.findings > 0,
  never: (item) => (state.notes.get(item.id) ?? []).some((note) => note.rule === 'never_changed'),
};

function passes(filters) {
  const terms = filters.q.toLowerCase().split(/\s+/).filter(Boolean); // all of them, anywhere
  const on = Object.keys(TESTS).filter((name) => filters[name]);
  return (item) =>
    (!filters.ns || namespaceOf(item.row.key) === filters.ns) &&
    (!filters.author || item.owner === filters.author || item.row.last_change?.author === filters.author) &&
    on.every((name) => TESTS[name](item)) &&
    terms.every((term) => textOf(item).includes(term));
}

/** Return the items of the table: rows, and where they stand in their natural order, their namespaces. */
export function listed(filters) {
  const all = known();
  const wish = JSON.stringify(filters);
  if (all.found?.wish === wish) return all.found;
  const rows = all.items.filter(passes(filters));
  const base = (items) => items.filter((item) => isBase(item.row.context)).length;
  const [parameters, shown] = [base(all.items), base(rows)];
  all.found = {
    wish,
    items: filters.sort ? sorted(rows, filters.sort) : grouped(rows),
    counts: Object.fromEntries(Object.entries(TESTS).map(([name, test]) => [name, all.items.filter(test).length])),
    parameters,
    contexts: all.items.length - parameters,
    shown,
    shownContexts: rows.length - shown,
  };
  return all.found;
}

function grouped(rows) {
  const items = [];
  let group = null;
  for (const item of rows) {
    const name = namespaceOf(item.row.key);
    if (group?.group !== name) items.push((group = { group: name, count: 0, findings: 0 }));
    group.count += 1;
    group.findings += item.findings;
    items.push(item);
  }
  return items;
}

// --- order ----------------------------------------------------------------------------------------------

const rank = (v) => (typeof v === 'bigint' ? Number(v) : typeof v === 'boolean' ? Number(v) : v);

const SORTS = {
  key: ({ row }) => row.key,
  value: ({ row }) => rank(row.value),
  unit: ({ row }) => row.unit,
  place: ({ row }) => position(row.value, row.minimum, row.maximum),
  owner: (item) => item.owner,
  age: ({ row }) => (row.last_change ? -Date.parse(row.last_change.time) : null), // the youngest first
  by: ({ row }) => row.last_change?.author ?? '',
  notes: (item) => -item.findings,
};

function sorted(rows, sort) {
  const by = SORTS[sort.replace(/^-/, '')];
  if (!by) return grouped(rows);
  const sign = sort.startsWith('-') ? -1 : 1;
  const keyed = rows.map((item) => ({ ...item, short: false, by: by(item) }));
  return keyed.sort((a, b) => compare(a.by, b.by, sign));
}

/** Order numbers before texts before all else; what has no value comes last in either direction. */
function compare(a, b, sign) {
  const [x, y] = [kindOf(a), kindOf(b)];
  if (x !== y) return x - y;
  if (x === 2) return 0;
  return sign * (x === 0 ? a - b : a < b ? -1 : a > b ? 1 : 0);
}

const kindOf = (v) => (typeof v === 'number' ? 0 : typeof v === 'string' && v !== '' ? 1 : 2);

// The form of each action: its fields, and the body of the request that they make.
// A form is {title, verb, start, view, body} and: `forces` (it can pass the limits of learners), `atOnce`
// (no second step: the switch that stops everything must not make anyone wait).

import { html, nothing } from 'lit-html';
import * as api from 'app/api';
import * as words from 'app/words';
import { knownValues } from 'app/parts';
import { state } from 'app/state';

const MOST_SUGGESTED = 40;
const MOST_NAMED = 6;

const typed = (fields, name, draw) => (event) => {
  fields[name] = event.target.value;
  draw?.();
};

const textField = (label, fields, name, { draw, hint, first, ...more } = {}) =>
  html`<label class="field"
    ><span>${label}</span>
    <input
      .value=${fields[name]}
      @input=${typed(fields, name, draw)}
      ?required=${more.required}
      ?data-first=${first}
      placeholder=${more.placeholder ?? ''}
      autocomplete="off"
      spellcheck="false"
    />${hint ? html`<small>${hint}</small>` : nothing}</label
  >`;

/** Who does it, and why: without a reason nothing is done. */
export function authorAndReason(action, take) {
  return html`<div class="fields">
    <label class="field"
      ><span>Author</span>
      <input .value=${action.author} @input=${(event) => take('author', event.target.value)} required autocomplete="username" spellcheck="false"
    /></label>
    <label class="field"
      ><span>Reason (kept in the journal)</span>
      <input .value=${action.reason} @input=${(event) => take('reason', event.target.value)} required ?data-first=${action.form.reasonFirst?.(action.fields)} autocomplete="off"
    /></label>
  </div>`;
}

// --- patterns ----------------------------------------------------------------------------------------------

/** The keys that a pattern, namespace or group stands for. */
function keysOf(pattern) {
  const keys = [...new Set((state.rows ?? []).map((row) => row.key))];
  if (!pattern) return [];
  const inside = (key) => key === pattern || key.startsWith(`${pattern}.`) || words.matches(key, pattern);
  return keys.filter(inside);
}

function matching(pattern, what) {
  const keys = keysOf(pattern);
  const named = keys.slice(0, MOST_NAMED).join(', ') + (keys.length > MOST_NAMED ? ', …' : '');
  if (!pattern.trim()) return html`<p class="told" role="status">Which parameters are meant is shown here.</p>`;
  return html`<p class="told ${keys.length ? '' : 'warn'}" role="status">
    ${keys.length ? html`${what} ${words.count(keys.length, 'parameter')}: ${pattern === '*' ? 'all of them' : named}` : 'No parameter matches this.'}
  </p>`;
}

const PATTERN = { hint: 'A key, a namespace, a group, or a pattern such as signal_weights.*', required: true };

// --- set -----------------------------------------------------------------------------------------------------

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

const emptyChange = () => ({ key: '', text: '', filled: null, remove: false, spec: null, now: undefined, asked: '' });

const set = {
  forces: true,
  title: () => 'Set values',
  verb: () => 'Set',
  start({ key = '', context = {}, value, changes }) {
    const wanted = changes ?? [{ key, value }];
    return {
      context: Object.fromEntries(Object.entries(context).map(([name, v]) => [name, String(v)])),
      empty: new Set(Object.keys(context).filter((name) => context[name] === '')), // where no text is a value, too
      changes: wanted.map((c) => ({ ...emptyChange(), key: c.key, text: c.value === undefined ? '' : words.value(c.value) })),
    };
  },
  ready: (fields, draw) => fields.changes.forEach((change) => look(change, fields, draw)),
  view(fields, draw) {
    const inContext = chosen(fields).length > 0;
    return html`${contextFields(fields, draw)}
    ${fields.changes.map((change, index) => changeFields(change, index, fields, inContext, draw))}
    <p>
      <button type="button" @click=${() => (fields.changes.push(emptyChange()), draw())}>Another value in the same commit</button>
    </p>`;
  },
  /** Add `keys` with the values that they have now; those that are left so are not written. */
  async together(fields, keys) {
    const { values } = await api.get(api.path(['values'], { at: chosen(fields).map(([name, text]) => `${name}=${text}`) }));
    const asked = new Set(fields.changes.map((change) => change.key.trim()));
    for (const key of keys.filter((one) => !asked.has(one))) {
      const text = words.value(values[key], state.places.get(key)?.type);
      fields.changes.push({ ...emptyChange(), key, text, filled: text });
    }
    await Promise.all(fields.changes.map((change) => look(change, fields, () => {})));
  },
  body: (fields) => ({
    changes: fields.changes
      .filter((change) => change.key && (change.remove || change.filled === null || change.text !== change.filled))
      .map((change) => ({
        key: change.key.trim(),
        context: contextBody(fields),
        ...(change.remove ? { remove: true } : { value: parsed(change) }),
      })),
  }),
};

const dimensions = () => state.health.dimensions ?? [];

const chosen = ({ context, empty }) => Object.entries(context).filter(([name, text]) => text !== '' || empty.has(name));

function contextBody(fields) {
  const typeOf = (name) => dimensions().find((dimension) => dimension.name === name)?.type;
  return Object.fromEntries(chosen(fields).map(([name, text]) => [name, dimensionValue(text, typeOf(name))]));
}

/** Give what was typed the type of its dimension, digit by digit: another number is another context. */
function dimensionValue(text, type) {
  if (type === 'boolean') return text === 'true';
  if (!['integer', 'number'].includes(type) || !NUMBER.test(text)) return text;
  const word = plain(text);
  return api.typedNumber(type === 'number' && !/[.e]/i.test(word) ? `${word}.0` : word);
}

const contextFields = (fields, draw) =>
  dimensions().length
    ? html`<fieldset>
        <legend>For which context (nothing chosen: the base value)</legend>
        <div class="fields">${dimensions().map((dimension) => dimensionField(dimension, fields, draw))}</div>
      </fieldset>`
    : nothing;

function dimensionField({ name, choices, type }, fields, draw) {
  const take = (event) => {
    fields.context[name] = event.target.value;
    fields.empty.delete(name);
    fields.changes.forEach((change) => look(change, fields, draw));
    draw();
  };
  const offered = choices ?? (type === 'boolean' ? [true, false] : null);
  const value = fields.context[name] ?? '';
  return html`<label class="field"
    ><span>${name}</span>
    ${offered
      ? html`<select @change=${take}>
          <option value="" .selected=${value === ''}>any</option>
          ${offered.map((v) => html`<option value=${String(v)} .selected=${String(v) === value}>${words.value(v)}</option>`)}
        </select>`
      : html`<datalist id="known-${name}">${knownValues({ name }).map((v) => html`<option value=${v}></option>`)}</datalist>
          <input .value=${value} @change=${take} list="known-${name}" placeholder=${fields.empty.has(name) ? 'the empty text' : 'any'} autocomplete="off" spellcheck="false" />`}
  </label>`;
}

function changeFields(change, index, fields, inContext, draw) {
  const again = (event) => {
    change.key = event.target.value.trim();
    [change.spec, change.now] = [null, undefined]; // of another key
    look(change, fields, draw);
    draw();
  };
  const list = `keys-${index}`;
  const removing = (event) => ((change.remove = event.target.checked), draw());
  return html`<div class="fields change">
    <label class="field"
      ><span>Parameter</span>
      <input .value=${change.key} @input=${again} list=${list} required ?data-first=${!change.key} autocomplete="off" spellcheck="false" />
      <datalist id=${list}>${suggested(change.key).map((key) => html`<option value=${key}></option>`)}</datalist>
      ${change.spec?.description ? html`<small>${change.spec.description}</small>` : nothing}</label
    >
    <div>
      ${change.remove ? nothing : valueField(change, draw)}
      ${inContext
        ? html`<label class="check"><input type="checkbox" .checked=${change.remove} @change=${removing} />Remove what is written for this context</label>`
        : nothing}
      ${index > 0
        ? html`<button type="button" @click=${() => (fields.changes.splice(index, 1), draw())}>Leave this one out</button>`
        : nothing}
    </div>
  </div>`;
}

function suggested(text) {
  const found = [];
  for (const row of state.rows ?? []) {
    if (words.isBase(row.context) && row.key.includes(text) && found.push(row.key) >= MOST_SUGGESTED) break;
  }
  return found;
}

function valueField(change, draw) {
  const { spec } = change;
  const unit = spec?.unit ? ` (${spec.unit})` : '';
  const take = (event) => {
    change.text = event.target.value;
    if (event.type === 'change') draw();
  };
  const offered = spec?.choices ?? (spec?.type === 'boolean' ? [true, false] : null);
  const field = offered
    ? html`<select @change=${take} required ?data-first=${Boolean(change.key)}>
        <option value="" .selected=${change.text === ''}>choose</option>
        ${offered.map((v) => html`<option value=${words.value(v)} .selected=${words.value(v) === change.text}>${words.value(v)}</option>`)}
      </select>`
    : html`<input .value=${change.text} @input=${take} ?required=${spec?.type !== 'string'} ?data-first=${Boolean(change.key)} autocomplete="off" spellcheck="false" />`;
  return html`<label class="field"
    ><span>New value${unit}</span>${field}
    ${spec ? html`<small>now ${words.value(change.now, spec.type)}${words.bounds(spec) ? `; may be ${words.bounds(spec)}` : ''}</small>` : nothing}</label
  >`;
}

/** Look up what the schema says of the key, and what stands in the chosen context. */
async function look(change, fields, draw) {
  if (!state.places.has(change.key)) {
    change.spec = null;
    return;
  }
  const wish = api.path(['parameters', change.key], { at: chosen(fields).map(([name, text]) => `${name}=${text}`) });
  change.asked = wish;
  try {
    const found = await api.get(wish);
    if (change.asked !== wish) return; // another key has been typed since
    [change.spec, change.now] = [found.spec, found.value];
  } catch {
    if (change.asked === wish) change.spec = null; // the preview says what is wrong
  }
  draw();
}

/** Give what was typed the type that the schema wants; the store has the last word. */
function parsed({ key, text, spec }) {
  const type = spec?.type ?? '';
  const word = text.trim();
  const offered = spec?.choices?.find((v) => words.value(v) === text);
  if (offered !== undefined) return offered;
  if (type === 'string') return text;
  if (type === 'number' || type === 'integer') {
    if (!NUMBER.test(word)) throw new api.Problem(0, { detail: `${key}: ${word || 'nothing'} is no number. Write it as 0.25 or 1e-3.` });
    return api.typedNumber(plain(word));
  }
  try {
    return api.parse(word);
  } catch {
    if (!type) return text;
    throw new api.Problem(0, { detail: `${key}: this is no JSON of type ${type}: ${word || 'nothing'}` });
  }
}

/** Write a number as JSON has it: no plus, and digits on both sides of the point. */
const plain = (word) =>
  word.replace(/^\+/, '').replace(/^(-?)\./, '$10.').replace(/\.(?=$|e)/i, '.0').replace(/^(-?)0+(?=\d)/, '$1');

// --- the others ------------------------------------------------------------------------------------------------

const until = (text) => (text.trim() === '' ? {} : { until: words.zoned(text.trim()) });
const optional = (name, text) => (text.trim() === '' ? {} : { [name]: text.trim() });

const rollback = {
  forces: true,
  title: () => 'Roll back',
  verb: () => 'Roll back',
  start: ({ to = '', keys = '', by = '' }) => ({ to: String(to), keys, by }),
  view: (fields, draw) => html`<div class="fields">
      ${textField('To which revision, or time', fields, 'to', { draw, required: true, first: !fields.to, hint: '12, or 2026-01-31 12:00 by the clock here' })}
      ${textField('Only these parameters', fields, 'keys', { draw, placeholder: 'all' })}
      ${textField('Only what this author did since', fields, 'by', { draw, placeholder: 'anyone' })}
    </div>
    <p role="status">${takesBack(fields)}</p>
    <p class="dim">It makes a new revision with the old values. Nothing of the journal is taken away.</p>`,
  reasonFirst: (fields) => Boolean(fields.to),
  body: ({ to, keys, by }) => ({ to: /^\d+$/.test(to.trim()) ? Number(to) : words.zoned(to.trim()), ...optional('keys', keys), ...optional('by', by) }),
};

/** Say how far a rollback reaches, since it also takes back what came later. */
const takesBack = ({ to, keys, by }) =>
  to.trim()
    ? html`Takes back everything that <strong>${by.trim() || 'anyone'}</strong> changed after ${/^\d+$/.test(to.trim()) ? `revision ${to.trim()}` : to.trim()}, of <strong>${keys.trim() || 'all parameters'}</strong>.`
    : nothing;

const freeze = {
  atOnce: true,
  title: ({ pattern }) => (pattern === '*' ? 'Freeze everything' : 'Freeze'),
  verb: ({ pattern }) => (pattern === '*' ? 'Freeze everything' : 'Freeze'),
  start: ({ pattern = '', until: end = '' }) => ({ pattern, until: String(end) }),
  view: (fields, draw) => html`<div class="fields">
      ${textField('Which parameters', fields, 'pattern', { draw, ...PATTERN, first: !fields.pattern })}
      ${textField('Until', fields, 'until', { placeholder: 'until it is unfrozen', hint: '30min, 2h, 3d, or 2026-01-31 12:00 by the clock here' })}
    </div>
    ${matching(fields.pattern, 'This stops writes to')}
    <p class="dim">No learner can write them from its next commit on. A person still can, by force and with a reason. Reading goes on.</p>`,
  reasonFirst: (fields) => Boolean(fields.pattern),
  body: (fields) => ({ pattern: fields.pattern.trim(), ...until(fields.until) }),
};

const unfreeze = {
  always: true,
  title: () => 'Unfreeze',
  verb: () => 'Unfreeze',
  start: ({ pattern = '' }) => ({ pattern: pattern || state.freezes[0]?.pattern || '' }),
  view: (fields, draw) => html`<label class="field"
    ><span>Which freeze ends</span>
    <select @change=${typed(fields, 'pattern', draw)}>
      ${[...new Set(state.freezes.map((f) => f.pattern))].map((pattern) => html`<option value=${pattern} .selected=${pattern === fields.pattern}>${pattern}</option>`)}
    </select></label
  >`,
  reasonFirst: () => true,
  body: ({ pattern }) => ({ pattern }),
};

const approve = {
  title: () => 'Approve values as they stand',
  verb: () => 'Approve',
  start: ({ pattern = '*' }) => ({ pattern }),
  view: (fields, draw) => html`${textField('Which parameters', fields, 'pattern', { draw, ...PATTERN })}
    ${matching(fields.pattern, 'Drift is measured from today’s values of')}`,
  reasonFirst: () => true,
  body: ({ pattern }) => ({ pattern: pattern.trim() }),
};

export const FORMS = { set, rollback, freeze, unfreeze, approve };

// Small pieces that several pages show: signs of authors, gauges, links, tables of changes, notes.

import { html, nothing, svg } from 'lit-html';
import * as words from 'app/words';
import { embedded, encode } from 'app/api';
import { state, typeOf } from 'app/state';

// --- links: the only places where addresses are made -----------------------------------------------

export const parameterHref = (key, context = {}) => {
  const at = Object.entries(context).map(([name, v]) => `at=${encode(`${name}=${words.value(v)}`)}`);
  return `#/parameter/${encode(key)}${at.length ? `?${at.join('&')}` : ''}`;
};
export const revisionHref = (n) => `#/revision/${encode(n)}`;
export const learnerHref = (name) => `#/learner/${encode(name)}`;

export const parameterLink = (key, context = {}) =>
  html`<a class="key" href=${parameterHref(key, context)}>${words.place(key, context)}</a>`;
export const revisionLink = (n) => html`<a class="num" href=${revisionHref(n)}>${n}</a>`;
export const authorLink = (name) =>
  name ? html`<a class="author" href=${learnerHref(name)} title=${name === 'external' ? 'edits by hand and values as first recorded' : nothing}>${authorSign(name)}${name}</a>` : nothing;

// --- authors: a colour and a shape ------------------------------------------------------------------

const SHAPES = [
  svg`<circle cx="6" cy="6" r="4.6" />`,
  svg`<rect x="1.8" y="1.8" width="8.4" height="8.4" />`,
  svg`<path d="M6 .8 11.2 10.6H.8Z" />`,
  svg`<path d="M6 .4 11.6 6 6 11.6.4 6Z" />`,
  svg`<path d="M6 11.2.8 1.4h10.4Z" />`,
  svg`<path d="M4.2 1h3.6v3.2H11v3.6H7.8V11H4.2V7.8H1V4.2h3.2Z" />`,
];

export function authorSign(name) {
  const { hue, shape } = words.author(name);
  return html`<svg class="sign hue-${hue}" viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">
    ${SHAPES[shape]}
  </svg>`;
}

// --- where a value lies between its bounds -----------------------------------------------------------

const WIDE = 68;
const EDGE = 4; // room for the dot at either end

export function gauge(value, minimum, maximum) {
  const where = words.position(value, minimum, maximum);
  if (where === null) return nothing;
  const x = EDGE + Math.min(1, Math.max(0, where)) * (WIDE - 2 * EDGE);
  return html`<svg class="gauge" viewBox="0 0 ${WIDE} 10" width=${WIDE} height="10" aria-hidden="true">
      <path class="track" d=${`M${EDGE} 5h${WIDE - 2 * EDGE}M${EDGE} 2v6M${WIDE - EDGE} 2v6`} />
      <path class="fill" d=${`M${EDGE} 5H${x.toFixed(1)}`} />
      <circle class="dot" cx=${x.toFixed(1)} cy="5" r="3" /></svg
    ><span class="num gauge-text">${percent(where)}</span>`;
}

function percent(where) {
  if (where === 0) return 'min';
  if (where === 1) return 'max';
  // Never "0 %" or "100 %" for what is not quite there: that would read as pinned.
  return `${where < 0.01 ? '<1' : where > 0.99 ? '>99' : Math.round(where * 100)} %`;
}

// --- notes of the doctor -----------------------------------------------------------------------------

const NOTES = {
  never_changed: 'never changed',
  stale: 'stale',
  at_bound: 'at a bound',
  at_step_limit: 'at its step limit',
  flipping: 'back and forth',
  drifting: 'drifting',
  never_read: 'never read',
  not_in_code: 'not in the source',
  frozen: 'frozen',
};

const noteWord = (rule) => NOTES[rule] || rule.replaceAll('_', ' ');

const noteTitle = ({ rule, text }) => (words.MEANINGS[noteWord(rule)] ? `${text}\n(${noteWord(rule)}: ${words.MEANINGS[noteWord(rule)]})` : text);

/** Notes as chips; `told` adds their sentences, which only wide pages show. */
export const notes = (list = [], told = false) =>
  list.map(
    (note) => html`<span class="chip ${words.isFinding(note) ? 'finding' : 'quiet'}" title=${noteTitle(note)}
      >${words.isFinding(note) ? html`<span aria-hidden="true">▲ </span>` : nothing}${noteWord(note.rule)}</span
    > ${told ? html`<span class="note-text">${note.text}</span>` : nothing}`,
  );

// --- contexts -----------------------------------------------------------------------------------------

/** The values of a dimension that the schema lists or an override is written for, as texts. */
export function knownValues({ name, choices }) {
  const written = (state.rows ?? []).map((row) => row.context[name]).filter((value) => value !== undefined);
  return [...new Set([...(choices ?? []), ...written].map((value) => words.value(value)))].sort();
}

// --- changes ------------------------------------------------------------------------------------------

/** Numbers never break in two; long texts and structures do. */
export const valueClass = (...values) =>
  values.some((v) => typeof v === 'string' || (v !== null && typeof v === 'object')) ? 'value text' : 'value';

export const valueCell = (v, type, absent = '—') =>
  v === undefined ? html`<span class="dim">${absent}</span>` : html`<span class=${valueClass(v)}>${words.value(v, type)}</span>`;

/** A table of changes: what it was, what it becomes, what was asked for and which rule bound it. */
export const changesTable = (changes, caption, { links = true } = {}) => {
  const bound = changes.some((c) => (c.bound_by && !words.onlyRounded(c)) || c.overrode?.length);
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${caption}>
    <table class="plain">
      <caption class="hidden">${caption}</caption>
      <thead>
        <tr>
          <th scope="col">parameter</th>
          <th scope="col" class="right">old</th>
          <th scope="col" class="right">new</th>
          ${bound ? html`<th scope="col">bound by</th>` : nothing}
        </tr>
      </thead>
      <tbody>
        ${changes.map((c) => changeRow(c, typeOf(c.key), links, bound))}
      </tbody>
    </table>
  </div>`;
};

const changeRow = (c, type, links, bound) =>
  html`<tr>
    <th scope="row">${links ? parameterLink(c.key, c.context) : words.place(c.key, c.context)}</th>
    <td class="right">${valueCell(c.old, type, 'not set')}</td>
    <td class="right"><strong>${valueCell(c.new, type, 'removed')}</strong></td>
    ${bound ? html`<td>${boundBy(c, type)}</td>` : nothing}
  </tr>`;

const boundBy = (c, type) => {
  if (c.overrode?.length) return html`<span class="forced">forced past ${c.overrode.join(', ')}</span>`;
  return c.bound_by && !words.onlyRounded(c) ? html`${c.bound_by} <span class="dim">(${words.value(c.requested, type)} was asked for)</span>` : nothing;
};

// --- states ---------------------------------------------------------------------------------------------

export const loading = html`<p class="state" role="status">Reading…</p>`;

export const trouble = (problem, retry) => html`<section class="state" role="alert">
  <h1>${problem.status === 404 ? 'Not found' : 'This could not be read'}</h1>
  <p class="pre">${problem.detail || String(problem.message || problem)}</p>
  ${retry && !embedded ? html`<p><button @click=${retry}>Try again</button></p>` : nothing}
</section>`;

export const empty = (sentence, more = nothing) => html`<section class="state"><p>${sentence}</p>${more}</section>`;

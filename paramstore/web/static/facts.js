// What an entry says, as the plots and the pages of one thing show it: evidence, refusals, what bound a value.

import { html, nothing } from 'lit-html';
import * as words from 'app/words';
import { typeOf } from 'app/state';
import { authorLink, revisionLink, valueCell } from 'app/parts';

// --- evidence ---------------------------------------------------------------------------------------

const isGroup = (value) => value !== null && typeof value === 'object';
const isTable = (value) =>
  Array.isArray(value) && value.length > 0 && value.every((row) => isGroup(row) && !Array.isArray(row));
const LONGEST_LIST = 12; // values of a list that stand in one line

/** Evidence as a table; what is nested is a table within it. */
export function evidence(data, caption = 'Evidence') {
  const names = Object.keys(data ?? {});
  if (!names.length) return nothing;
  return html`<table class="facts">
    <caption class="hidden">${caption}</caption>
    <tbody>
      ${names.map((name) => html`<tr><th scope="row">${name}</th><td>${fact(data, name)}</td></tr>`)}
    </tbody>
  </table>`;
}

function fact(holder, name) {
  const value = holder[name];
  if (!isGroup(value)) return html`<span class="value">${words.member(holder, name)}</span>`;
  if (isTable(value)) return records(value, name);
  if (!Array.isArray(value)) return Object.keys(value).length ? evidence(value, name) : html`<span class="value">{}</span>`;
  if (value.every((item) => !isGroup(item)) && value.length <= LONGEST_LIST) {
    return html`<span class="value">${value.map((_, at) => words.member(value, at)).join(', ') || '[]'}</span>`;
  }
  return html`<ol class="facts-list">${value.map((_, at) => html`<li>${fact(value, at)}</li>`)}</ol>`;
}

function records(rows, name) {
  const columns = [...new Set(rows.flatMap(Object.keys))];
  return html`<table class="facts">
    <caption class="hidden">${name}</caption>
    <thead><tr>${columns.map((column) => html`<th scope="col">${column}</th>`)}</tr></thead>
    <tbody>
      ${rows.map((row) => html`<tr>${columns.map((column) => html`<td>${column in row ? fact(row, column) : nothing}</td>`)}</tr>`)}
    </tbody>
  </table>`;
}

/** Evidence in one line. */
export const evidenceText = (data) =>
  Object.keys(data ?? {})
    .map((name) => `${name} = ${words.member(data, name)}`)
    .join(', ');

// --- what bound a value -----------------------------------------------------------------------------

/** Rules by the words of the schema, in plain ones where they say more. */
const RULES = {
  max_step: 'its largest step',
  max_step_relative: 'its largest relative step',
  max_drift: 'how far it may drift from its baseline',
  cooldown_s: 'the time between two changes',
  owner: 'it belongs to another learner',
  learnable: 'it is left to people',
  min_samples: 'too few samples',
  evidence: 'evidence is missing',
  constraint: 'a rule over several parameters',
  enum: 'its list of choices',
};

/** A rule by its word and, where that helps, in plain ones. */
export const ruleText = (rule) => (RULES[rule] ? `${rule} (${RULES[rule]})` : rule);

/** What was asked for and which rule kept it from being so; which guards a person passed. */
export function bound({ key, bound_by: rule, requested, overrode = [], ...sides }) {
  const asked = rule && !words.onlyRounded({ bound_by: rule, requested, ...sides })
    ? html`<span class="bound">asked for ${nearly(requested, typeOf(key))}, bound by ${ruleText(rule)}</span>`
    : nothing;
  const forced = overrode?.length ? html`<span class="chip finding">forced past ${overrode.join(', ')}</span>` : nothing;
  return html`${asked} ${forced}`;
}

/** A number that was asked for: learners give 17 digits, of which a reader wants six. */
function near(value, type) {
  const rounded = typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
  return rounded === value ? words.value(value, type) : `≈ ${words.value(rounded, type)}`;
}

const nearly = (value, type) => html`<b class="value" title=${words.value(value, type)}>${near(value, type)}</b>`;

/** One broken rule of a refusal in a sentence; the journal keeps either the text or the limits. */
export function refusalText(item) {
  if (item.text) return item.text;
  const type = typeOf(item.key);
  const [low, high] = item.allowed ?? [];
  const limits = words.bounds({ minimum: low, maximum: high, type });
  const only = low !== undefined && low !== null && words.same(low, high);
  const allowed = only ? `, where only ${words.value(low, type)} was allowed` : limits ? `, where ${limits} was allowed` : '';
  return `${words.place(item.key, item.context)} = ${near(item.requested, type)} was asked for${allowed}: ${ruleText(item.rule)}.`;
}

export const refusals = (items) =>
  items?.length ? html`<ul class="refusals">${items.map((item) => html`<li>${refusalText(item)}</li>`)}</ul>` : nothing;

// --- marks of a plot --------------------------------------------------------------------------------

const moveText = ({ change, broken, entry }) => {
  const type = typeOf(change?.key ?? broken?.[0]?.key ?? '');
  if (change) return words.change(change.old, change.new, type);
  return broken ? `${words.value(broken[0].requested, type)} was refused` : words.kind(entry);
};

/** One mark in one line of text. */
export const markLabel = (mark) =>
  `revision ${mark.entry.revision}, ${words.local(mark.entry.time)}, ${words.kind(mark.entry)} by ${mark.entry.author}: ${moveText(mark)}`;

/** Everything about one mark. */
export function markCaption(mark) {
  const { entry, change, broken } = mark;
  return html`<p class="caption-head">
      revision ${revisionLink(entry.revision)} · ${words.time(entry.time)} <span class="dim">(${words.ago(entry.time)})</span>
    </p>
    <p class="caption-change"><strong class="value">${moveText(mark)}</strong></p>
    <p>${words.kind(entry)} by ${authorLink(entry.author)}</p>
    ${change?.bound_by || change?.overrode?.length ? html`<p>${bound(change)}</p>` : nothing}
    ${refusals(broken)}
    ${entry.reason ? html`<p class="reason pre">${entry.reason}</p>` : nothing}
    ${evidence(entry.evidence)}`;
}

/** The same as a table, newest first: what is drawn is never told by the drawing alone. */
export function markTable(trace, most, all) {
  const bands = trace.bands.map((band) => ({ time: band.from, entry: band.entry, sort: 'freeze', band }));
  const approved = trace.baselines.filter((b) => b.entry.kind === 'approve').map((b) => ({ ...b, sort: 'baseline' }));
  const rows = [...trace.marks, ...bands, ...approved].sort((a, b) => b.time - a.time);
  const shown = rows.slice(0, most);
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Table of what is drawn">
      <table class="plain">
        <thead>
          <tr>
            <th scope="col" class="right">revision</th><th scope="col">time</th><th scope="col">kind</th><th scope="col">by</th>
            <th scope="col" class="right">old</th><th scope="col" class="right">new</th><th scope="col">bound by</th>
            <th scope="col">reason</th><th scope="col">evidence</th>
          </tr>
        </thead>
        <tbody>${shown.map(markRow)}</tbody>
      </table>
    </div>
    ${rows.length > shown.length
      ? html`<p><button type="button" @click=${all}>Show all ${rows.length.toLocaleString('en')} rows</button></p>`
      : nothing}`;
}

function markRow(mark) {
  const { entry, change = {}, broken, sort } = mark;
  const type = typeOf(change.key ?? broken?.[0]?.key ?? '');
  return html`<tr>
    <td class="right">${revisionLink(entry.revision)}</td>
    <td class="nowrap">${words.time(entry.time)}</td>
    <td>${words.kind(entry)}</td>
    <td class="nowrap">${authorLink(entry.author)}</td>
    <td class="right">${'old' in change ? valueCell(change.old, type) : nothing}</td>
    <td class="right">${newCell(mark, change, type)}</td>
    <td>${change.bound_by || change.overrode ? bound(change) : nothing}${broken ? broken.map(refusalText).join(' ') : nothing}</td>
    <td class="wrap">${sort === 'freeze' && entry.details?.until ? html`until ${words.time(entry.details.until)}: ` : nothing}${entry.reason}</td>
    <td class="wrap dim">${evidenceText(entry.evidence)}</td>
  </tr>`;
}

function newCell({ sort, value, band }, change, type) {
  if (sort === 'freeze') return html`<span class="dim">${band.entry.details?.pattern}</span>`;
  if (sort === 'baseline') return html`baseline ${valueCell(value, type)}`;
  if (sort === 'refused') return html`<span class="dim">nothing</span>`;
  return valueCell(change.new, type, 'removed');
}

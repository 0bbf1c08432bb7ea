// Two sides compared, as a table: what differs, by how much, where it lies between its bounds, and who made it so.

import { html, nothing } from 'lit-html';
import { bound } from 'app/facts';
import { authorLink, parameterLink, revisionLink, valueCell } from 'app/parts';
import { typeOf } from 'app/state';
import * as words from 'app/words';

const FIRST = 500; // rows that are shown before all are asked for

/**
 * The differences of a comparison (`diff --json`) as a table. `names` are what the columns of both sides are called;
 * without `makers` it is not said who made each of them, and what bound them.
 *
 * `page` keeps whether all rows are shown: `{ all, context }`.
 */
export function differencesTable(changes, page, { names = ['old', 'new'], makers = true } = {}) {
  const shown = page.all ? changes : changes.slice(0, FIRST);
  const entry = makers && changes.some((c) => c.entry !== undefined);
  const has = { change: changes.some(moved), place: changes.some(placed), entry };
  const all = () => {
    page.all = true;
    page.context.rerender();
  };
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Values that differ"><table class="plain wide">
      <thead><tr>
        <th scope="col">parameter</th><th scope="col" class="right">${names[0]}</th><th scope="col" class="right">${names[1]}</th>
        ${has.change ? html`<th scope="col" class="right">change</th>` : nothing}
        ${has.place ? html`<th scope="col">within bounds</th>` : nothing}
        ${has.entry ? html`<th scope="col">made by</th><th scope="col">bound by</th>` : nothing}
      </tr></thead>
      <tbody>${shown.map((one) => row(one, has, names))}</tbody>
    </table></div>
    ${changes.length > shown.length ? html`<p><button @click=${all}>Show all ${changes.length.toLocaleString('en')} rows</button></p>` : nothing}`;
}

const moved = (c) => c.absolute !== null && c.absolute !== undefined;
const placed = (c) => c.position?.old != null || c.position?.new != null;

function row(c, has, names) {
  const type = typeOf(c.key) || (c.unit ? 'number' : '');
  return html`<tr data-row tabindex="-1">
    <th scope="row">${parameterLink(c.key, c.context)}${c.unit ? html` <span class="dim">${c.unit}</span>` : nothing}</th>
    <td class="right" data-name=${names[0]}>${valueCell(c.old, type, 'not set')}</td>
    <td class="right" data-name=${names[1]}><strong>${valueCell(c.new, type, 'removed')}</strong></td>
    ${has.change ? html`<td class="right nowrap">${changeText(c, type)}</td>` : nothing}
    ${has.place ? html`<td class="nowrap">${moveGauge(c.position)}</td>` : nothing}
    ${has.entry ? html`<td>${made(c.entry)}</td><td>${c.entry && !c.entry.taken_back ? bound({ ...c.entry, key: c.key, old: c.old, new: c.new }) : nothing}</td>` : nothing}
  </tr>`;
}

/** By how much: in the value's own unit, and as a part of the old value. */
function changeText({ absolute, relative }, type) {
  if (absolute === null || absolute === undefined) return nothing;
  const sign = absolute > 0 ? '+' : '';
  const part = relative === null || relative === undefined ? '' : ` (${relative > 0 ? '+' : ''}${percent(relative)})`;
  return html`<span class=${absolute > 0 ? 'up' : 'down'}>${sign}${words.value(absolute, type)}${part}</span>`;
}

const percent = (relative) => {
  const size = Math.abs(relative * 100);
  return `${size >= 1e6 ? (relative * 100).toExponential(1) : (relative * 100).toFixed(size < 10 ? 1 : 0)} %`;
};

/** Say which entry a difference comes from. */
function made(entry) {
  if (!entry) return html`<span class="dim">edited by hand, not yet recorded</span>`;
  const more = entry.entries > 1 ? html`, <span class="dim">the last of ${entry.entries}</span>` : nothing;
  const hand = entry.edited_since ? html`; <span class="dim">since then by hand, not recorded</span>` : nothing;
  return html`${entry.taken_back ? 'without ' : nothing}revision ${revisionLink(entry.revision)} by ${authorLink(entry.author)}${more}${hand}`;
}

// --- where it lies between its bounds -----------------------------------------------------------------

const WIDE = 96;
const inside = (where) => 4 + Math.min(1, Math.max(0, where)) * (WIDE - 8);

/** The way from the old place between the bounds (hollow) to the new one (filled), and the same in words. */
function moveGauge(position) {
  const [from, to] = [position?.old ?? null, position?.new ?? null];
  if (from === null && to === null) return nothing;
  return html`<svg class="move" viewBox="0 0 ${WIDE} 12" width=${WIDE} height="12" aria-hidden="true">
      <path class="track" d="M4 6h${WIDE - 8}M4 2v8M${WIDE - 4} 2v8"></path>
      <path class="way" d=${from !== null && to !== null ? `M${inside(from).toFixed(1)} 6H${inside(to).toFixed(1)}` : ''}></path>
      <circle class="old" r=${from === null ? 0 : 3} cx=${inside(from ?? 0).toFixed(1)} cy="6"></circle>
      <circle class="new" r=${to === null ? 0 : 3.5} cx=${inside(to ?? 0).toFixed(1)} cy="6"></circle></svg
    > <span class="gauge-text">${[from, to].filter((where) => where !== null).map(placeText).join(' → ')}</span>`;
}

function placeText(where) {
  if (where === 0) return 'min';
  if (where === 1) return 'max';
  if (where < 0 || where > 1) return 'outside';
  return `${where < 0.01 ? '<1' : where > 0.99 ? '>99' : Math.round(where * 100)} %`;
}

// --- rules and namespaces -----------------------------------------------------------------------------

/** Rules of schemas that differ. */
export function rulesTable(rules) {
  if (!rules.length) return nothing;
  return html`<h2>Rules that differ <span class="dim">${rules.length}</span></h2>
    <div class="scroll" tabindex="0" role="region" aria-label="Rules that differ"><table class="plain">
      <thead><tr><th scope="col">of</th><th scope="col">rule</th><th scope="col" class="right">old</th><th scope="col" class="right">new</th><th scope="col">allows</th></tr></thead>
      <tbody>${rules.map((rule) => html`<tr>
        <th scope="row">${typeOf(rule.key) ? parameterLink(rule.key) : rule.key}</th>
        <td>${rule.rule}</td>
        <td class="right">${valueCell(rule.old, '', '—')}</td>
        <td class="right">${valueCell(rule.new, '', '—')}</td>
        <td>${rule.effect === 'looser' ? html`<span class="looser">▲ more than it did</span>` : rule.effect === 'tighter' ? '▼ less than it did' : nothing}</td>
      </tr>`)}</tbody>
    </table></div>`;
}

/** Namespaces that only one side has, in sentences. */
export const namespacesText = ({ came = [], went = [] }) => html`
  ${came.length ? html`<p>New: namespace ${came.join(', ')}.</p>` : nothing}
  ${went.length ? html`<p>Gone: namespace ${went.join(', ')}.</p>` : nothing}
`;

// A parameter's values in its contexts, side by side.

import { html, nothing } from 'lit-html';
import { authorLink, gauge, parameterHref, revisionLink, valueCell, valueClass } from 'app/parts';
import { state } from 'app/state';
import * as words from 'app/words';

const SMALL_PLOTS = 6; // that are drawn before more are asked for
const MOST_COMBINATIONS = 60; // of the table

/** Every place where `key` has a value of its own: the base value first. */
export const ownPlaces = (key) => {
  if (!state.rows) return [];
  const first = state.rows.findIndex((row) => row.key === key);
  if (first < 0) return [];
  let last = first;
  while (state.rows[last + 1]?.key === key) last += 1;
  return state.rows.slice(first, last + 1);
};

/** The context for which the winning value is written: `{}` is the base. The layers name it in words only. */
export function placeThatWins(found, places) {
  const winner = found.layers.findLast((layer) => layer.applies && ['yaml', 'context'].includes(layer.name));
  if (winner?.name !== 'context') return {};
  const fits = places.filter((row) => !words.isBase(row.context) && within(row.context, found.context));
  return strongest(fits, found.spec.dimensions)?.context ?? {};
}

const within = (at, context) => Object.entries(at).every(([name, value]) => name in context && words.same(context[name], value));

/** The override that wins among those that apply: more dimensions, then the dimension declared later. */
function strongest(rows, dimensions) {
  const rank = (row) => Object.keys(row.context).map((name) => dimensions.indexOf(name)).sort((a, b) => b - a);
  const above = (a, b) => {
    const [one, other] = [rank(a), rank(b)];
    if (one.length !== other.length) return one.length - other.length;
    const differ = one.findIndex((place, index) => place !== other[index]);
    return differ < 0 ? 0 : one[differ] - other[differ];
  };
  return rows.reduce((best, row) => (best && above(best, row) > 0 ? best : row), null);
}

/** Everything about contexts, or nothing where the parameter knows none. `page` is the page of the parameter. */
export function contextsView(page) {
  const { spec } = page.found;
  if (!spec.dimensions.length) return nothing;
  const places = ownPlaces(page.key);
  return html`<section aria-labelledby="contexts">
    <h2 id="contexts">In its contexts <span class="dim">${spec.dimensions.join(', ')}</span></h2>
    ${places.length > 1 ? smallPlots(page, places) : html`<p class="dim">Every context has the base value: no override is written.</p>`}
    ${effectiveTable(page, places)}
  </section>`;
}

function smallPlots(page, places) {
  const shown = page.every ? places : places.slice(0, SMALL_PLOTS);
  const all = () => {
    page.every = true;
    page.context.rerender();
  };
  return html`<div class="tiles">${shown.map((row) => tile(page, row))}</div>
    ${places.length > shown.length ? html`<p><button @click=${all}>Plots of all ${places.length} contexts</button></p>` : nothing}`;
}

const tile = (page, row) => html`<div class="tile">
  <h3>
    <a href=${parameterHref(row.key, row.context)}>${words.isBase(row.context) ? 'base value' : words.at(row.context)}</a>
    <span class=${valueClass(row.value)}>${words.value(row.value, row.type)}</span>
  </h3>
  <param-plot .data=${page.plot(row.context, true)}></param-plot>
</div>`;

// --- what a read gives --------------------------------------------------------------------------------

function effectiveTable(page, places) {
  const { spec } = page.found;
  const known = spec.dimensions.filter((name) => valuesOf(name, places).length);
  if (!known.length) return nothing;
  page.chosen ??= new Set(known.filter((name) => places.some((row) => name in row.context)).slice(0, 2));
  const { rows, all } = combinations(known.filter((name) => page.chosen.has(name)), places);
  const choose = (name, on) => {
    page.chosen[on ? 'add' : 'delete'](name);
    page.context.rerender();
  };
  return html`<h3>What a read gives</h3>
    <fieldset class="line">
      <legend>Dimensions</legend>
      ${known.map((name) => html`<label class="toggle"><input type="checkbox" .checked=${page.chosen.has(name)} @change=${(e) => choose(name, e.target.checked)} />${name}</label>`)}
    </fieldset>
    <div class="scroll" tabindex="0" role="region" aria-label="Effective values by context"><table class="plain">
      <thead><tr><th scope="col">context</th><th scope="col" class="right">value</th><th scope="col">within bounds</th><th scope="col">written for</th><th scope="col">last change</th></tr></thead>
      <tbody>${rows.map((context) => effectiveRow(page, context, places))}</tbody>
    </table></div>
    ${all > rows.length ? html`<p class="dim">The first ${rows.length} of ${all.toLocaleString('en')} combinations.</p>` : nothing}
    ${page.found.layers.some((layer) => ['environment', 'override'].includes(layer.name))
      ? html`<p class="dim">On the server's machine the environment or an override stands over all of these; see the layers above.</p>`
      : nothing}`;
}

/** The values of a dimension that the schema lists, and those for which an override of this parameter is written. */
function valuesOf(name, places) {
  const listed = state.health?.dimensions?.find((one) => one.name === name)?.choices ?? [];
  const found = new Map([...listed, ...places.map((row) => row.context[name])].filter((v) => v !== undefined).map((v) => [words.value(v), v]));
  return [...found.values()];
}

function combinations(names, places) {
  let rows = [{}];
  let all = 1;
  for (const name of names) {
    const values = valuesOf(name, places);
    all *= values.length;
    rows = rows.flatMap((row) => values.map((value) => ({ ...row, [name]: value }))).slice(0, MOST_COMBINATIONS);
  }
  return names.length ? { rows: [{}, ...rows], all: all + 1 } : { rows, all };
}

function effectiveRow(page, context, places) {
  const { spec } = page.found;
  const fits = places.filter((row) => within(row.context, context));
  const row = strongest(fits, spec.dimensions);
  if (!row) return nothing;
  const { last_change: last } = row;
  return html`<tr class=${words.isBase(row.context) && !words.isBase(context) ? 'passive' : ''}>
    <th scope="row"><a href=${parameterHref(page.key, context)}>${words.isBase(context) ? 'no context' : words.at(context)}</a></th>
    <td class="right">${valueCell(row.value, spec.type)}</td>
    <td class="nowrap">${gauge(row.value, spec.minimum, spec.maximum)}</td>
    <td>${words.isBase(row.context) ? 'base' : words.at(row.context)}</td>
    <td>${last ? html`${words.ago(last.time)} by ${authorLink(last.author)}, revision ${revisionLink(last.revision)}` : nothing}</td>
  </tr>`;
}

// All parameters: what each is, where it lies, who moves it, and what the doctor says of it.

import { html, nothing } from 'lit-html';
import * as words from 'app/words';
import { state } from 'app/state';
import { authorSign, empty, gauge, notes, parameterHref } from 'app/parts';
import { Rows, printing } from 'app/table';
import { COLUMNS, filtersOf, listed, sortWord, valuesOf } from 'app/listing';
import { lately } from 'app/lately';
import 'app/spark';

const FRESH_MS = 2600; // how long a row shows that it has just changed
const PRINTED_SPARKS = 400; // more pictures than this are not worth the wait of a printer

export async function page(route, context) {
  const rows = new Rows('parameters', context.rerender);
  const past = await lately();
  let filters = filtersOf(route.query);
  let search = 0;

  /** Change filters; the fragment follows, so that a link shows the same. */
  function choose(changed) {
    filters = { ...filters, ...changed };
    const query = new URLSearchParams(Object.entries(filters).filter(([, v]) => v)).toString();
    rows.active = -1;
    context.navigate(`#/${query ? `?${query}` : ''}`, { replace: true });
  }

  function typed(event) {
    const { value } = event.target;
    clearTimeout(search);
    search = setTimeout(() => choose({ q: value }), 80); // a search for each letter would only flicker
  }

  let findAtOnce = route.query.has('find');

  return {
    title: 'Overview',
    leave: () => rows.leave(),
    step: (by) => rows.step(by),
    drawn() {
      rows.drawn();
      if (findAtOnce) document.querySelector('main input[type=search]')?.focus();
      findAtOnce = false;
    },
    event(entry) {
      past.event(entry);
      setTimeout(context.rerender, FRESH_MS + 50); // to take the mark away again
    },
    view() {
      if (!state.rows.length) return emptyStore();
      const found = listed(filters);
      rows.steps = (index) => found.items[index]?.row !== undefined;
      return html`
        <h1 class="hidden">Overview of all parameters</h1>
        ${Object.values(filters).some(Boolean) ? nothing : past.view()} ${tools(filters, found, choose, typed, context.act)} ${context.embedded ? nothing : context.act.note()}
        ${found.items.length ? table(rows, found, filters, choose) : nothingFound(filters, found, choose)}
      `;
    },
  };
}

// --- states ---------------------------------------------------------------------------------------

const emptyStore = () =>
  empty(
    'No parameters yet.',
    html`<p><code>paramstore init --namespace NAME</code> writes the frame of a first namespace.</p>`,
  );

const NONE = { frozen: 'Nothing is frozen.', finding: 'Nothing has a finding.' };

/** Where one filter alone lets nothing through, its name says more. */
function noneOf(filters, found) {
  const [none] = Object.keys(NONE).filter((name) => filters[name] && !found.counts[name]);
  return NONE[none] ?? 'No parameter is like that.';
}

const nothingFound = (filters, found, choose) =>
  empty(
    noneOf(filters, found),
    html`<p><button @click=${() => choose(filtersOf(new URLSearchParams()))}>Show all</button></p>`,
  );

// --- search and filters -----------------------------------------------------------------------------

const TOGGLES = [
  ['learnable', 'learnable', `learnable: ${words.MEANINGS.learnable}`],
  ['changed', 'changed from default'],
  ['frozen', 'frozen'],
  ['finding', 'has a finding', `finding: ${words.MEANINGS.finding}`],
  ['never', 'never changed'],
];

function tools(filters, found, choose, typed, act) {
  const { namespaces, authors } = valuesOf();
  return html`<search class="tools" aria-label="Search and filters">
    <label class="find">
      <span class="hidden">Search keys, units, authors and notes</span>
      <input
        type="search"
        placeholder="Search key, unit, author, note"
        .value=${filters.q}
        @input=${typed}
        autocomplete="off"
        spellcheck="false"
        aria-keyshortcuts="/"
      />
    </label>
    ${choice('namespace', 'all namespaces', namespaces, filters.ns, (ns) => choose({ ns }))}
    ${choice('author', 'all authors', authors, filters.author, (author) => choose({ author }))}
    ${TOGGLES.map(
      ([name, word, title]) =>
        html`<label class="toggle" title=${title ?? nothing}
          ><input
            type="checkbox"
            .checked=${filters[name] === '1'}
            @change=${(event) => choose({ [name]: event.target.checked ? '1' : '' })}
          />${word} <span class="num dim">${found.counts[name].toLocaleString('en')}</span></label
        >`,
    )}
    ${act.offer(
      html`<span class="doing">
        <button @click=${() => act.set()}>Set…</button>
        <button @click=${() => act.rollback(within(filters, 'keys'))}>Roll back…</button>
        <button @click=${() => act.approve(within(filters, 'pattern'))}>Approve…</button>
        <button @click=${() => act.freeze(within(filters, 'pattern'))}>Freeze…</button>
      </span>`,
    )}
    <p class="counts" role="status">${countsText(found)}</p>
  </search>`;
}

/** An action begins with the namespace that is looked at. */
const within = ({ ns }, name) => (ns ? { [name]: `${ns}.*` } : {});

const choice = (name, all, options, chosen, choose) =>
  html`<label
    ><span class="hidden">${name}</span>
    <select @change=${(event) => choose(event.target.value)}>
      <option value="" .selected=${!chosen}>${all}</option>
      ${options.map((option) => html`<option value=${option} .selected=${option === chosen}>${option}</option>`)}
    </select></label
  >`;

function countsText({ shown, shownContexts, parameters, contexts }) {
  const all = `${words.count(parameters, 'parameter')}${contexts ? `, ${words.count(contexts, 'value')} for contexts` : ''}`;
  if (shown === parameters && shownContexts === contexts) return all;
  return `${words.count(shown + shownContexts, 'row')} of ${all}`;
}

// --- the table --------------------------------------------------------------------------------------

function table(rows, found, filters, choose) {
  const part = rows.window(found.items.length);
  const now = Date.now();
  const sparks = !printing() || found.items.length <= PRINTED_SPARKS;
  return html`<table
    id="parameters"
    class="rows"
    role="table"
    tabindex="-1"
    aria-label="Parameters"
    aria-rowcount=${found.items.length + 1}
    @focusin=${(event) => rows.took(event)}
  >
    <thead role="rowgroup">
      <tr role="row" aria-rowindex="1">
        ${COLUMNS.map((column) => heading(column, filters, choose))}
      </tr>
    </thead>
    <tbody role="rowgroup">
      ${gap(part.above)}
      ${found.items
        .slice(part.start, part.end)
        .map((item, at) => line(item, part.start + at, found.items, sparks, now))}
      ${gap(part.below)}
    </tbody>
  </table>
  <p class="legend dim"><span class="mark">*</span> differs from its default</p>`;
}

const gap = (height) =>
  html`<tr class="gap" aria-hidden="true"><td .style=${`height:${height}px`}></td></tr>`;

function heading({ name, word, sort, side }, filters, choose) {
  const direction = sortWord(filters.sort, sort);
  const turn = () => choose({ sort: filters.sort === sort ? `-${sort}` : filters.sort === `-${sort}` ? '' : sort });
  return html`<th role="columnheader" scope="col" class="c-${name} ${side ?? ''}" aria-sort=${direction}>
    ${sort
      ? html`<button class="sort" @click=${turn}>
          ${word}<span aria-hidden="true">${direction === 'ascending' ? ' ↑' : direction === 'descending' ? ' ↓' : ''}</span>
        </button>`
      : word}
  </th>`;
}

function line(item, index, items, sparks, now) {
  if (item.group !== undefined) return groupLine(item, index);
  const { row } = item;
  const fresh = now - (state.touched.get(item.id) ?? 0) < FRESH_MS;
  const mine = !words.isBase(row.context) && items[index - 1]?.row?.key === row.key;
  return html`<tr
    role="row"
    aria-rowindex=${index + 2}
    class="row ${mine ? 'override' : ''} ${fresh ? 'fresh' : ''} ${row.frozen ? 'frozen' : ''}"
  >
    <th role="rowheader" scope="row" class="c-key">
      <a data-row data-index=${index} href=${parameterHref(row.key, row.context)} title=${words.place(row.key, row.context)}
        >${name(row, mine, item.short)}</a
      >${row.frozen ? html`<span class="chip held" title="No learner can write it until it is unfrozen; a person can, by force and with a reason">frozen</span>` : nothing}
    </th>
    ${cells(row, item, sparks)}
  </tr>`;
}

const name = (row, mine, short) => {
  if (mine) return html`<span class="at">${words.at(row.context)}</span>`;
  const key = short ? row.key.slice(row.key.indexOf('.') + 1) : row.key;
  return words.isBase(row.context) ? key : html`${key} <span class="at">${words.at(row.context)}</span>`;
};

function cells(row, item, sparks) {
  const owner = state.owners.get(item.id) || '';
  const last = row.last_change;
  return html`
    <td role="cell" class="c-value right">
      ${row.changed && words.isBase(row.context)
        ? html`<span class="mark" title="differs from the default, ${words.value(row.default, row.type)}">*</span>`
        : nothing}<span class="value" title=${words.value(row.value, row.type)}>${words.value(row.value, row.type)}</span
      >${row.environment !== undefined
        ? html` <span class="chip finding" title="An environment variable of the server puts this over it">env ${words.value(row.environment, row.type)}</span>`
        : nothing}
    </td>
    <td role="cell" class="c-unit" title=${row.unit || nothing}>${row.unit}</td>
    <td role="cell" class="c-spark">${sparks ? spark(row, item.id) : nothing}</td>
    <td role="cell" class="c-place">${gauge(row.value, row.minimum, row.maximum)}</td>
    <td role="cell" class="c-bounds num">${words.bounds(row)}</td>
    <td role="cell" class="c-default num right">${words.value(row.default ?? undefined, row.type)}</td>
    <td role="cell" class="c-owner">${learner(row, owner)}</td>
    <td role="cell" class="c-age">
      ${row.edited_by_hand
        ? html`<span class="chip finding" title="edited by hand, not yet recorded">by hand</span>`
        : last
          ? html`${words.ago(last.time)}`
          : html`<span class="dim">never</span>`}
    </td>
    <td role="cell" class="c-by">${last && last.author ? html`${authorSign(last.author)}${last.author}` : nothing}</td>
    <td role="cell" class="c-notes">${notes(told(row, item.id), true)}</td>
  `;
}

/** Its notes; that it is frozen is said beside its name already. */
const told = (row, id) => (state.notes.get(id) ?? []).filter((note) => !(row.frozen && note.rule === 'frozen'));

/** Who learns it: the owner that the schema names, else whoever moved it last. */
function learner(row, owner) {
  const name = owner || row.last_change?.author;
  if (!name) return html`<span class="dim">${row.learnable ? 'any learner' : 'people'}</span>`;
  return html`<span class=${owner ? '' : 'dim'} title=${owner ? `${name}: the only learner that may move it` : `${name} moved it last`}>${authorSign(name)}${name}</span>`;
}

function spark(row, id) {
  const points = state.sparks.get(id);
  return points && points.values.length > 1
    ? html`<param-spark aria-hidden="true" .points=${points} .bounds=${[row.minimum, row.maximum]}></param-spark>`
    : nothing;
}

const groupLine = (item, index) =>
  html`<tr role="row" class="group" aria-rowindex=${index + 2}>
    <th role="rowheader" scope="rowgroup" colspan="3">
      <h2>${item.group}</h2>
      <span class="dim num">${words.count(item.count, 'value')}${item.findings ? `, ${words.count(item.findings, 'finding')}` : ''}</span>
    </th>
  </tr>`;

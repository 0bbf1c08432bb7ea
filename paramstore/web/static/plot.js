// <param-plot>: the history of one value as a step line, with what limits it and who moved it.
//
// Give it `.data = { key, context, entries, spec, standing, more, compact }`: the journal's entries (oldest first) as the
// API answers them, what the schema says, the value that stands at exactly this place, whether older entries are left to
// load. A new object draws anew, the same one does nothing. It fires `older` when more is asked for.
// The drawing is never the only place of anything: a table of the same changes stands under it.

import { html, nothing, render } from 'lit-html';
import uPlot from 'uplot';
import { markCaption, markLabel, markTable } from 'app/facts';
import { authorSign } from 'app/parts';
import { over, spot, under } from 'app/plot_draw';
import { categoryAxis, colours, decimalsFor, extent, TIME_AXIS, watch } from 'app/plot_scale';
import { drawable, reach, trace } from 'app/trace';
import { present } from 'app/state';
import * as words from 'app/words';
import 'app/spark';

const NEAR = 26; // pixels within which the mouse takes hold of a mark
const DOUBLE_MS = 260; // a second click within this time resets the zoom instead of opening a revision
const EDGE = 9; // pixels at either end of the time axis: a mark there is not cut in half
const LEAST_S = 0.5; // of the time axis
const PRINTING = ['beforeprint', 'afterprint'];
const COARSE = matchMedia('(pointer: coarse)');
const ROWS = 200; // of the table, until all are asked for

class ParamPlot extends HTMLElement {
  #data = null;
  #trace = null;
  #plot = null;
  #stage = null;
  #view = null;
  #zoom = null; // [from, to], or null for everything
  #whole = null; // true: the whole of the bounds is shown, false: only the values, null: as fits
  #at = -1; // index of the chosen mark
  #spoken = false; // whether the caption is read out: not while a mouse passes over
  #open = false; // whether the table is
  #rows = ROWS;
  #resize = new ResizeObserver(() => requestAnimationFrame(() => this.#fit()));
  #unwatch = null;

  get data() {
    return this.#data;
  }

  set data(data) {
    if (data === this.#data) return;
    const chosen = this.#trace?.marks[this.#at];
    const other = this.#data && (this.#data.key !== data?.key || this.#data.place !== data?.place);
    this.#data = data;
    if (other) [this.#zoom, this.#whole] = [null, null];
    if (!data) return;
    const { entries, key, context, spec, standing } = data;
    this.#trace = trace(entries, key, context ?? {}, { spec, standing, now: present() / 1000 });
    this.#at = other || !chosen ? -1 : this.#trace.marks.findIndex((m) => m.entry.id === chosen.entry.id && m.sort === chosen.sort);
    if (this.isConnected) this.#show();
  }

  connectedCallback() {
    this.#unwatch = watch(() => this.#repaint());
    for (const moment of PRINTING) addEventListener(moment, this.#print);
    if (this.#data) this.#show();
  }

  disconnectedCallback() {
    for (const moment of PRINTING) removeEventListener(moment, this.#print);
    this.#unwatch?.();
    this.#resize.disconnect();
    this.#plot?.destroy();
    this.#plot = null;
    this.#stage = null;
  }

  // --- what stands around the drawing ----------------------------------------------------------------

  #show() {
    this.#text();
    const stage = this.querySelector('.plot-stage');
    if (stage !== this.#stage) {
      this.#stage = stage;
      this.#resize.disconnect();
      this.#resize.observe(stage);
    }
    this.#prepare();
    const kind = this.#trace.numeric ? 'number' : `category ${this.#trace.categories.length}`;
    if (this.#plot && this.#plot.kind === kind) {
      this.#plot.setData([this.#trace.times, this.#trace.values], false);
      this.#scale();
    } else {
      this.#make(kind);
    }
  }

  #text() {
    const { compact, more } = this.#data;
    const chosen = this.#trace.marks[this.#at];
    const live = this.#spoken ? 'polite' : 'off';
    const main = html`<div class="plot-main">
      <div
        class="plot-stage ${this.#spoken ? 'by-keys' : ''}" tabindex="0" role="application" aria-roledescription="plot" aria-label=${this.#summary()}
        @keydown=${this.#keydown} @pointerdown=${this.#pointed}
      ></div>
      ${compact
        ? html`<div class="hidden" aria-live=${live}>${chosen ? markLabel(chosen) : nothing}</div>`
        : html`<div class="plot-caption" aria-live=${live}>${chosen ? markCaption(chosen) : this.#hint()}</div>`}
    </div>`;
    const table = html`<details class="plot-table" .open=${this.#open} @toggle=${(e) => this.#toggled(e.target.open)}>
      <summary>Table of what is drawn (${this.#trace.marks.length.toLocaleString('en')})</summary>
      ${this.#open ? markTable(this.#trace, this.#rows, () => this.#all()) : nothing}
    </details>`;
    const tools = html`<div class="plot-tools">
      ${this.#legend()}
      <span class="plot-buttons">
        ${this.#zoom ? html`<button type="button" @click=${() => this.#zoomTo(null)}>Whole time</button>` : nothing}
        ${this.#boundsButton()}
        ${more ? html`<button type="button" ?disabled=${this.#data.loading} @click=${() => this.dispatchEvent(new CustomEvent('older'))}>Load older</button>` : nothing}
      </span>
    </div>`;
    render(html`<figure class=${compact ? 'plot compact' : 'plot'}>${main}${compact ? nothing : tools}${table}</figure>`, this);
  }

  #summary() {
    const { key, context, standing } = this.#data;
    const count = this.#trace.changes;
    const value = standing === undefined ? 'no value of its own now' : `now ${words.value(standing)}`;
    const keys = count ? ' Arrow keys move along the changes, Enter opens the revision, plus and minus zoom, 0 shows everything.' : '';
    return `History of ${words.place(key, context ?? {})}: ${count === 1 ? '1 change' : `${count} changes`}, ${value}.${keys}`;
  }

  #hint() {
    if (!this.#trace.marks.length) return html`<p class="quiet">No change of this value is recorded yet.</p>`;
    if (COARSE.matches) return html`<p class="quiet">Touch the plot to see who changed the value and why; touch again to open the revision.</p>`;
    return html`<p class="quiet">Point at the plot, or move along it with the arrow keys, to see who changed the value and why.
      A click opens the revision. Drag to zoom; a double click shows everything again.</p>`;
  }

  #legend() {
    const { trace: t, bounds, reach: far } = this.#view ?? this.#prepare();
    const has = (test) => t.marks.some(test);
    const [low, high] = [bounds.low, bounds.high];
    const name = { low: low == null ? '' : words.value(low), high: high == null ? '' : words.value(high) };
    const item = (key, text) => html`<li><span class="sample ${key}"></span>${text}</li>`;
    return html`<ul class="plot-legend" aria-label="Signs of the plot">
      ${t.authors.map((author) => html`<li>${authorSign(author)}${author}</li>`)}
      ${has((m) => m.entry.kind === 'external') ? item('hollow', 'edited by hand') : nothing}
      ${has((m) => m.sort === 'refused') ? item('cross', 'refused') : nothing}
      ${has((m) => m.entry.kind === 'rollback') ? item('rollback', 'rolled back') : nothing}
      ${t.bands.length ? item('frozen', 'frozen') : nothing}
      ${t.numeric && (low != null || high != null) ? item('bound', `bounds ${name.low} … ${name.high}`) : nothing}
      ${t.numeric && t.baselines.length ? html`<li title=${words.MEANINGS.baseline}><span class="sample baseline"></span>baseline</li>` : nothing}
      ${far ? item('reach', `one step reaches ${words.value(tidy(far.low))} … ${words.value(tidy(far.high))}`) : nothing}
    </ul>`;
  }

  #boundsButton() {
    const { bounds, whole } = this.#view;
    if (!this.#trace.numeric || (bounds.low == null && bounds.high == null)) return nothing;
    const flip = () => {
      this.#whole = !whole;
      this.#scale();
      this.#text();
    };
    return html`<button type="button" @click=${flip}>${whole ? 'Only the values' : 'Whole bounds'}</button>`;
  }

  #toggled(open) {
    if (open === this.#open) return;
    this.#open = open;
    this.#text();
  }

  #all() {
    this.#rows = Infinity;
    this.#text();
  }

  /** Paper shows every row; afterwards the table is as it was. */
  #print = ({ type }) => {
    const before = type === 'beforeprint';
    if (before) this.#screen = [this.#open, this.#rows];
    [this.#open, this.#rows] = before ? [true, Infinity] : (this.#screen ?? [this.#open, this.#rows]);
    if (this.#trace) this.#text();
  };

  #screen = null;

  // --- the drawing -----------------------------------------------------------------------------------

  #prepare() {
    const { spec = {}, standing } = this.#data;
    const base = this.#trace.baselines.at(-1)?.value;
    const learned = this.#trace.numeric && spec.learnable;
    const bounds = { low: drawable(spec.minimum), high: drawable(spec.maximum) };
    this.#view = { trace: this.#trace, bounds, reach: learned ? reach(spec, standing, base) : null, sign: this.#sign, colours: colours(this) };
    this.#view.whole = extent(this.#view, ...this.#range(), this.#whole).whole;
    return this.#view;
  }

  #sign = (author) => {
    const { hue, shape } = words.author(author);
    return { shape, colour: this.#view.colours.hues[hue] };
  };

  #make(kind) {
    this.#plot?.destroy();
    const { clientWidth: width, clientHeight: height } = this.#stage;
    this.#plot = new uPlot(this.#options(Math.max(width, 120), Math.max(height, 80)), [this.#trace.times, this.#trace.values], this.#stage);
    this.#plot.kind = kind;
    this.#plot.over.addEventListener('click', (event) => this.#clicked(event));
    this.#spot = document.createElement('div');
    this.#spot.className = 'plot-spot';
    this.#plot.over.append(this.#spot);
    this.#scale();
  }

  #spot = null;

  #options(width, height) {
    const axis = { stroke: () => this.#view.colours.text, grid: { stroke: () => this.#view.colours.grid, width: 1 }, ticks: { show: false }, font: this.#view.colours.font };
    const numbers = { space: this.#data.compact ? 24 : 36, values: (u, splits, i, space, step) => splits.map(decimalsFor(step)) };
    const yAxis = this.#trace.numeric ? numbers : categoryAxis(() => this.#trace.categories);
    const widest = (u, texts) => Math.min(Math.max(0, ...(texts ?? []).map((text) => String(text ?? '').length)) * 7 + 12, width / 3);
    return {
      width, height,
      padding: [8, 10, 0, 0],
      legend: { show: false },
      cursor: { points: { show: false }, y: false, drag: { x: true, y: false, setScale: false, dist: 6 }, bind: { dblclick: () => () => this.#reset() } },
      scales: { x: { time: true, auto: false }, y: { auto: false } },
      axes: [{ ...axis, space: 70, values: TIME_AXIS }, { ...axis, size: widest, ...yAxis }],
      series: [{}, { stroke: () => this.#view.colours.line, width: 1.75, paths: uPlot.paths.stepped({ align: 1 }), gaps: widened, points: { show: false } }],
      hooks: {
        drawClear: [(u) => under(u, this.#view)],
        draw: [(u) => (over(u, this.#view), this.#ring())],
        setCursor: [(u) => this.#hovered(u)],
        setSelect: [(u) => this.#selected(u)],
      },
    };
  }

  #range() {
    if (this.#zoom) return this.#zoom;
    const { times, now, bands } = this.#trace;
    const from = Math.min(times[0] ?? now - 86400, ...(times.length ? [] : bands.map((band) => band.from)));
    return [from, Math.max(now, from + LEAST_S)];
  }

  #scale() {
    if (!this.#plot) return;
    const [from, to] = this.#range();
    const { low, high, whole } = extent(this.#view, from, to, this.#whole);
    this.#view.whole = whole;
    this.#plot.batch(() => {
      const room = ((to - from) * EDGE) / Math.max(this.#stage.clientWidth - 80, 100);
      this.#plot.setScale('x', { min: from - room, max: to + room });
      this.#plot.setScale('y', { min: low, max: high });
    });
  }

  #fit() {
    if (!this.#plot || !this.#stage?.clientWidth) return;
    const size = { width: this.#stage.clientWidth, height: this.#stage.clientHeight };
    if (size.width !== this.#plot.width || size.height !== this.#plot.height) this.#plot.setSize(size);
  }

  #repaint() {
    if (!this.#plot) return;
    this.#view.colours = colours(this);
    this.#plot.redraw(false, true);
  }

  // --- moving along it -------------------------------------------------------------------------------

  #choose(index, spoken) {
    if (index === this.#at && spoken === this.#spoken) return;
    [this.#at, this.#spoken] = [index, spoken];
    const mark = this.#trace.marks[index];
    if (mark && this.#zoom && spoken && (mark.time < this.#zoom[0] || mark.time > this.#zoom[1])) this.#centre(mark.time);
    this.#ring();
    this.#text();
    if (this.#data.compact) this.#stage.title = mark ? markLabel(mark) : '';
  }

  /** Put the ring around the chosen mark. */
  #ring() {
    const mark = this.#trace.marks[this.#at];
    if (!this.#spot) return;
    this.#spot.hidden = !mark;
    if (!mark) return;
    const [left, top] = spot(this.#plot, mark);
    const ratio = uPlot.pxRatio;
    this.#spot.style.transform = `translate(${(left - this.#plot.bbox.left) / ratio}px, ${(top - this.#plot.bbox.top) / ratio}px)`;
  }

  #hovered(u) {
    const { left, top } = u.cursor;
    if (left == null || left < 0) return;
    this.#choose(this.#nearest(u, left, top), false);
  }

  #nearest(u, left, top) {
    const time = u.posToVal(left, 'x');
    const { marks } = this.#trace;
    let [best, found] = [NEAR * NEAR, -1];
    let standing = -1; // else the change that gave the value which stood then
    for (let index = 0; index < marks.length; index += 1) {
      const away = u.valToPos(marks[index].time, 'x') - left;
      if (marks[index].time <= time && marks[index].sort === 'change') standing = index;
      if (away > NEAR) break;
      if (away < -NEAR) continue;
      const distance = away * away + ((u.valToPos(marks[index].y, 'y') - top) / 3) ** 2;
      if (distance < best) [best, found] = [distance, index];
    }
    return found >= 0 ? found : standing;
  }

  #touched = false;
  #timer = null;

  #pointed = (event) => {
    this.#touched = event.pointerType === 'touch';
  };

  #clicked() {
    const mark = this.#trace.marks[this.#at];
    clearTimeout(this.#timer);
    if (!mark || (this.#touched && this.#told !== mark)) {
      this.#told = mark; // a finger cannot hover: its first touch tells, the second one opens
      return;
    }
    this.#timer = setTimeout(() => this.#visit(mark), DOUBLE_MS);
  }

  #told = null;

  #visit(mark) {
    location.hash = `#/revision/${encodeURIComponent(mark.entry.revision)}`;
  }

  #reset() {
    clearTimeout(this.#timer);
    this.#zoomTo(null);
  }

  #selected(u) {
    const { left, width } = u.select;
    if (width < 6) return;
    const [from, to] = [u.posToVal(left, 'x'), u.posToVal(left + width, 'x')];
    u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    this.#zoomTo([from, to]);
  }

  #zoomTo(range) {
    const [first, last] = [this.#trace.times[0] ?? 0, this.#trace.now];
    const [from, to] = range ?? [first, last];
    const all = from <= first && to >= last;
    this.#zoom = !range || all ? null : [from, Math.max(to, from + LEAST_S)];
    this.#scale();
    this.#text();
  }

  #centre(time) {
    const half = (this.#zoom[1] - this.#zoom[0]) / 2;
    this.#zoomTo([time - half, time + half]);
  }

  #closer(factor) {
    const [from, to] = this.#range();
    const middle = this.#trace.marks[this.#at]?.time ?? (from + to) / 2;
    this.#zoomTo([middle - (middle - from) * factor, middle + (to - middle) * factor]);
  }

  #keydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const last = this.#trace.marks.length - 1;
    const here = this.#at < 0 ? last + 1 : this.#at;
    const to = { ArrowLeft: here - 1, ArrowRight: here + 1, PageUp: here - 10, PageDown: here + 10, Home: 0, End: last }[event.key];
    if (to !== undefined && last >= 0) this.#choose(Math.min(Math.max(to, 0), last), true);
    else if (event.key === 'Enter' && this.#trace.marks[this.#at]) this.#visit(this.#trace.marks[this.#at]);
    else if (event.key === '+' || event.key === '=') this.#closer(0.5);
    else if (event.key === '-') this.#closer(2);
    else if (event.key === '0') this.#zoomTo(null);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
}

/** A gap a little wider than uPlot's, which leaves a trace of the step behind it. */
const widened = (u, series, from, to, gaps) => gaps.map(([left, right]) => [left, right + 2 * uPlot.pxRatio]);

const tidy = (value) => Number(value.toPrecision(12)); // 0.15 + 0.05, not 0.20000000000000001

customElements.define('param-plot', ParamPlot);

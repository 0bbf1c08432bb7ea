// <param-spark>: the newest changes of one value as a tiny step line.
//
// `.points = { times, values }` (of `sparklines`), `.bounds = [minimum, maximum]`. One step a change, so that a burst of
// them is as readable as a month. Thousands may exist: only those that are seen are drawn, all in one frame.

import uPlot from 'uplot';
import { colours, heights, watch } from 'app/plot_scale';
import { drawable } from 'app/trace';

const MOST = 24; // points

const waiting = new Set();
let frame = 0;

/** Draw soon, together with all others that wait. */
function later(spark) {
  waiting.add(spark);
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    const now = [...waiting];
    waiting.clear();
    for (const one of now) one.draw();
  });
}

const seen = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) target.sight(isIntersecting);
  },
  { rootMargin: '120px' },
);

let shared = null; // colours, the same for all: resolving them costs more than drawing
const palette = (element) => (shared ??= colours(element));
watch(() => {
  shared = null;
});

class ParamSpark extends HTMLElement {
  #points = null;
  #bounds = null;
  #plot = null;
  #seen = false;
  #unwatch = null;

  set points(points) {
    if (points === this.#points) return;
    this.#points = points;
    this.#label();
    if (this.#seen) later(this);
  }

  get points() {
    return this.#points;
  }

  set bounds(bounds) {
    this.#bounds = (bounds ?? []).map(drawable);
  }

  get bounds() {
    return this.#bounds;
  }

  connectedCallback() {
    seen.observe(this);
    this.#unwatch = watch(() => this.#seen && later(this));
    this.#label();
  }

  disconnectedCallback() {
    seen.unobserve(this);
    this.#unwatch?.();
    this.#seen = false;
    this.#drop();
  }

  sight(isSeen) {
    this.#seen = isSeen;
    if (isSeen) later(this);
    else this.#drop();
  }

  #drop() {
    this.#plot?.destroy();
    this.#plot = null;
  }

  #label() {
    const count = this.#points?.values?.length ?? 0;
    this.setAttribute('role', 'img');
    this.setAttribute('aria-label', count ? `the newest ${count === 1 ? 'change' : `${count} changes`}` : 'no change yet');
  }

  draw() {
    if (!this.#seen || !this.isConnected) return;
    const values = heights((this.#points?.values ?? []).slice(-MOST));
    if (!values.length) return this.#drop();
    values.push(values.at(-1)); // the value that stands has a length, too
    const data = [values.map((_, index) => index), values];
    if (this.#plot) return this.#plot.setData(data);
    const { clientWidth: width, clientHeight: height } = this;
    if (width && height) this.#plot = new uPlot(this.#options(width, height), data, this);
  }

  #options(width, height) {
    return {
      width, height,
      padding: [3, 4, 3, 2],
      pxAlign: 0,
      legend: { show: false },
      cursor: { show: false },
      select: { show: false },
      axes: [{ show: false }, { show: false }],
      scales: { x: { time: false }, y: { range: (u, low, high) => around(low, high) } },
      series: [
        {},
        { stroke: () => palette(this).line, width: 1.25, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } },
      ],
      hooks: { draw: [(u) => this.#ornaments(u)] },
    };
  }

  /** A line at each bound that is within sight, and a dot at the value that stands. */
  #ornaments(u) {
    const { ctx, bbox } = u;
    const ratio = uPlot.pxRatio;
    ctx.save();
    ctx.fillStyle = palette(this).bound;
    for (const bound of this.#bounds ?? []) {
      if (bound === null || bound < u.scales.y.min || bound > u.scales.y.max) continue;
      ctx.fillRect(bbox.left, Math.round(u.valToPos(bound, 'y', true)), bbox.width, ratio);
    }
    const last = u.data[1].at(-1);
    if (last === null) return ctx.restore(); // nothing stands there now
    ctx.fillStyle = palette(this).line;
    ctx.beginPath();
    ctx.arc(bbox.left + bbox.width, u.valToPos(last, 'y', true), 2 * ratio, 0, 2 * Math.PI);
    ctx.fill();
    ctx.restore();
  }
}

function around(low, high) {
  if (low === null || high === null) return [0, 1];
  const room = (high - low) * 0.05 || Math.abs(high) * 0.1 || 1;
  return [low - room, high + room];
}

customElements.define('param-spark', ParamSpark);

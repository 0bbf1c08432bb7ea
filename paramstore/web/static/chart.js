// What the smaller plots share: an element that draws with uPlot once it has a size, and follows size and colours.

import uPlot from 'uplot';
import { colours, watch } from 'app/plot_scale';

/** An element with `.data`; a plot says what uPlot is given (`options`, `series`), and how high it is (`tall`). */
export class Chart extends HTMLElement {
  #data = null;
  #plot = null;
  #unwatch = null;
  #resize = new ResizeObserver(() => requestAnimationFrame(() => this.#fit()));
  colours = null;

  get data() {
    return this.#data;
  }

  set data(data) {
    if (data === this.#data) return;
    this.#data = data;
    if (this.isConnected) this.#make();
  }

  get plot() {
    return this.#plot;
  }

  connectedCallback() {
    this.#unwatch = watch(() => this.#repaint());
    this.#resize.observe(this);
    this.#make();
  }

  disconnectedCallback() {
    this.#unwatch?.();
    this.#resize.disconnect();
    this.#plot?.destroy();
    this.#plot = null;
  }

  /** Height in pixels. */
  tall() {
    return 140;
  }

  #make() {
    this.#plot?.destroy();
    this.#plot = null;
    if (!this.#data) return;
    this.colours = colours(this);
    const size = { width: Math.max(this.clientWidth, 120), height: this.tall() };
    const fixed = { legend: { show: false }, ...this.options(size) };
    this.#plot = new uPlot({ ...size, ...fixed }, this.series(), this);
    this.made?.(this.#plot);
  }

  #fit() {
    if (!this.#plot || !this.clientWidth || this.clientWidth === this.#plot.width) return;
    this.#plot.setSize({ width: this.clientWidth, height: this.tall() });
  }

  #repaint() {
    if (!this.#plot) return;
    this.colours = colours(this);
    this.#plot.redraw(false, true);
  }

  /** The look of an axis. */
  axis() {
    return {
      stroke: () => this.colours.text,
      grid: { stroke: () => this.colours.grid, width: 1 },
      ticks: { show: false },
      font: this.colours.font,
    };
  }
}

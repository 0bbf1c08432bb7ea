// <forest-plot>: what came of each change, as intervals around a line at zero.
//
// `.data = { rows: [{ label, revision, difference, low, high, verdict }] }`, the first at the top.

import uPlot from 'uplot';
import { Chart } from 'app/chart';
import { decimalsFor, short } from 'app/plot_scale';

const ROW = 24; // pixels
const AXES = 44;

const px = (size) => size * uPlot.pxRatio;

class ForestPlot extends Chart {
  tall() {
    return this.data.rows.length * ROW + AXES;
  }

  series() {
    const [low, high] = reachOf(this.data.rows);
    return [[low, high], [null, null]];
  }

  options({ width }) {
    const { rows } = this.data;
    const [low, high] = reachOf(rows);
    const labels = width > 520 ? 200 : 96;
    return {
      padding: [8, 12, 0, 0],
      cursor: { points: { show: false }, drag: { x: false, y: false }, x: false, y: false },
      scales: { x: { time: false, range: () => [low, high] }, y: { range: () => [-rows.length + 0.5, 0.5] } },
      axes: [
        { ...this.axis(), space: 64, values: (u, splits, i, space, step) => splits.map(decimalsFor(step)) },
        {
          ...this.axis(), size: labels, grid: { show: false },
          splits: () => rows.map((_, index) => -index),
          values: (u, splits) => splits.map((at) => short(rows[-at].label, Math.floor(labels / 6.6))),
        },
      ],
      series: [{}, { show: true, points: { show: false } }],
      hooks: { draw: [(u) => this.#rows(u)] },
    };
  }

  made(plot) {
    plot.over.addEventListener('click', (event) => {
      const row = this.data.rows[Math.floor(event.offsetY / (plot.over.clientHeight / this.data.rows.length))];
      if (row) location.hash = `#/revision/${encodeURIComponent(row.revision)}`;
    });
  }

  #rows(u) {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.strokeStyle = this.colours.text;
    ctx.lineWidth = px(1);
    segment(ctx, u.valToPos(0, 'x', true), bbox.top, u.valToPos(0, 'x', true), bbox.top + bbox.height);
    this.data.rows.forEach((row, index) => this.#row(u, row, u.valToPos(-index, 'y', true)));
    ctx.restore();
  }

  #row(u, row, y) {
    const { ctx, bbox } = u;
    const { good, bad, unsure, ground } = this.colours;
    const colour = { better: good, worse: bad }[row.verdict] ?? unsure;
    const [left, right] = [bbox.left, bbox.left + bbox.width];
    const at = (value) => Math.min(Math.max(u.valToPos(value, 'x', true), left), right);
    [ctx.strokeStyle, ctx.fillStyle, ctx.lineWidth] = [colour, colour, px(2)];
    segment(ctx, at(row.low), y, at(row.high), y);
    // An end that lies beyond the drawing is an arrow, one within it a small bar.
    for (const [value, way] of [[row.low, -1], [row.high, 1]]) {
      const beyond = way < 0 ? u.valToPos(value, 'x', true) < left : u.valToPos(value, 'x', true) > right;
      if (beyond) triangle(ctx, at(value), y, way);
      else segment(ctx, at(value), y - px(4), at(value), y + px(4));
    }
    sign(ctx, at(row.difference), y, row.verdict, ground);
  }
}

function segment(ctx, x0, y0, x1, y1) {
  ctx.beginPath();
  ctx.moveTo(x0, y0);
  ctx.lineTo(x1, y1);
  ctx.stroke();
}

function triangle(ctx, x, y, way) {
  ctx.beginPath();
  ctx.moveTo(x, y);
  ctx.lineTo(x - way * px(7), y - px(4));
  ctx.lineTo(x - way * px(7), y + px(4));
  ctx.fill();
}

/** Up for better, down for worse, a hollow circle for what cannot be told: not by the colour alone. */
function sign(ctx, x, y, verdict, ground) {
  ctx.beginPath();
  if (verdict === 'better' || verdict === 'worse') {
    const way = verdict === 'better' ? -1 : 1;
    ctx.moveTo(x, y + way * px(6));
    ctx.lineTo(x - px(5.5), y - way * px(4));
    ctx.lineTo(x + px(5.5), y - way * px(4));
    ctx.fill();
    return;
  }
  ctx.arc(x, y, px(4), 0, 2 * Math.PI);
  ctx.fillStyle = ground;
  ctx.fill();
  ctx.stroke();
}

/** How far the drawing reaches: a few very wide intervals must not make all others a dot. */
function reachOf(rows) {
  const ends = rows.flatMap((row) => [Math.abs(row.low), Math.abs(row.high)]).sort((a, b) => a - b);
  const usual = ends[Math.floor((ends.length - 1) * 0.9)] * 1.4;
  const far = Math.max(usual, ...rows.map((row) => Math.abs(row.difference))) || 1;
  const low = Math.min(0, ...rows.map((row) => Math.max(row.low, -far)));
  const high = Math.max(0, ...rows.map((row) => Math.min(row.high, far)));
  const room = (high - low) * 0.05 || 1;
  return [low - room, high + room];
}

customElements.define('forest-plot', ForestPlot);

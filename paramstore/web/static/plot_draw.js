// What is drawn on a plot beside its line: bounds, freezes, step limit, baseline, rollbacks and marks.
//
// Called by uPlot's hooks with its canvas; positions come from its scales. Everything that has a colour has a shape,
// a dash or a hatching as well, since colour alone tells nothing to some and nothing on paper.

import uPlot from 'uplot';

// The signs of authors, in the order of `words.author`, drawn within a square from -1 to 1.
const SHAPES = [
  'M0,-1A1,1 0 1 1 0,1A1,1 0 1 1 0,-1Z', // circle
  'M-.85,-.85H.85V.85H-.85Z', // square
  'M0,-1.1L1,.8H-1Z', // triangle
  'M0,-1.2L1.1,0L0,1.2L-1.1,0Z', // diamond
  'M0,1.1L1,-.8H-1Z', // triangle, pointing down
  'M-.4,-1.05H.4V-.4H1.05V.4H.4V1.05H-.4V.4H-1.05V-.4H-.4Z', // plus
];
const CROSS = 'M-.9,-.9L.9,.9M.9,-.9L-.9,.9';

const paths = new Map();
const path = (text) => paths.get(text) ?? paths.set(text, new Path2D(text)).get(text);

/** Draw what lies under the line. `view` is a plot's `{ trace, bounds, reach, colours }`. */
export function under(u, view) {
  const { ctx, bbox } = u;
  ctx.save();
  clip(ctx, bbox);
  outside(u, view);
  for (const band of view.trace.bands) frozen(u, band, view.colours);
  within(u, view);
  ctx.restore();
}

/** Draw what lies over the line. */
export function over(u, view) {
  const { ctx, bbox } = u;
  ctx.save();
  clip(ctx, bbox);
  limits(u, view);
  baselines(u, view);
  rollbacks(u, view);
  marks(u, view);
  ctx.restore();
}

const clip = (ctx, { left, top, width, height }) => {
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
};

const px = (size) => size * uPlot.pxRatio;
const x = (u, time) => u.valToPos(time, 'x', true);
const y = (u, value) => u.valToPos(value, 'y', true);

function outside(u, { bounds, colours }) {
  const { ctx, bbox } = u;
  ctx.fillStyle = colours.outside;
  if (bounds.high != null) {
    const edge = Math.min(y(u, bounds.high), bbox.top + bbox.height);
    if (edge > bbox.top) ctx.fillRect(bbox.left, bbox.top, bbox.width, edge - bbox.top);
  }
  if (bounds.low != null) {
    const edge = Math.max(y(u, bounds.low), bbox.top);
    const end = bbox.top + bbox.height;
    if (edge < end) ctx.fillRect(bbox.left, edge, bbox.width, end - edge);
  }
}

function frozen(u, band, colours) {
  const { ctx, bbox } = u;
  const from = Math.max(x(u, band.from), bbox.left);
  const to = Math.min(x(u, band.to), bbox.left + bbox.width);
  if (to <= bbox.left || from >= bbox.left + bbox.width) return;
  const width = Math.max(to - from, px(2)); // so that a short freeze is seen, too
  ctx.fillStyle = colours.frozen;
  ctx.fillRect(from, bbox.top, width, bbox.height);
  hatch(ctx, from, bbox.top, width, bbox.height, colours.frozenLine);
}

function hatch(ctx, left, top, width, height, colour) {
  ctx.save();
  clip(ctx, { left, top, width, height });
  ctx.strokeStyle = colour;
  ctx.lineWidth = px(1);
  ctx.beginPath();
  for (let at = left - height; at < left + width; at += px(9)) {
    ctx.moveTo(at, top + height);
    ctx.lineTo(at + height, top);
  }
  ctx.stroke();
  ctx.restore();
}

/** The band that one commit may reach from the value that stands, from its last change on. */
function within(u, { reach, trace, colours }) {
  if (!reach) return;
  const { ctx, bbox } = u;
  const since = trace.marks.findLast((mark) => mark.sort === 'change')?.time ?? trace.times[0];
  const left = Math.max(x(u, since), bbox.left);
  const right = bbox.left + bbox.width;
  if (left >= right) return;
  const [top, bottom] = [y(u, reach.high), y(u, reach.low)];
  ctx.fillStyle = colours.reach;
  ctx.fillRect(left, top, right - left, bottom - top);
  ctx.strokeStyle = colours.reachLine;
  stroke(ctx, [1, 3], [[left, top, right, top], [left, bottom, right, bottom]]);
}

function stroke(ctx, dash, lines, width = 1) {
  ctx.setLineDash(dash.map(px));
  ctx.lineWidth = px(width);
  ctx.beginPath();
  for (const [x0, y0, x1, y1] of lines) {
    ctx.moveTo(x0, y0);
    ctx.lineTo(x1, y1);
  }
  ctx.stroke();
  ctx.setLineDash([]);
}

function limits(u, { bounds, colours }) {
  const { ctx, bbox } = u;
  ctx.strokeStyle = colours.bound;
  const drawn = [bounds.low, bounds.high].filter((value) => value != null).map((value) => y(u, value));
  stroke(ctx, [], drawn.map((at) => [bbox.left, at, bbox.left + bbox.width, at]), 1.5);
}

function baselines(u, { trace, colours }) {
  const right = u.bbox.left + u.bbox.width;
  const lines = trace.baselines
    .map((base, index) => [base, trace.baselines[index + 1]])
    .filter(([base]) => base.y !== null)
    .map(([base, next]) => [x(u, base.time), y(u, base.y), next ? x(u, next.time) : right, y(u, base.y)]);
  u.ctx.strokeStyle = colours.baseline;
  stroke(u.ctx, [7, 4], lines, 1.25);
}

function rollbacks(u, { trace, colours }) {
  const { bbox } = u;
  const times = trace.marks.filter((mark) => mark.entry.kind === 'rollback').map((mark) => x(u, mark.time));
  u.ctx.strokeStyle = colours.rollback;
  stroke(u.ctx, [2, 3], times.map((at) => [at, bbox.top, at, bbox.top + bbox.height]), 1.25);
}

// --- marks ------------------------------------------------------------------------------------------

function marks(u, view) {
  const { trace, colours } = view;
  const [from, to] = [u.scales.x.min, u.scales.x.max];
  const seen = trace.marks.filter((mark) => mark.time >= from && mark.time <= to);
  const room = u.width / Math.max(seen.length, 1);
  const size = room > 24 ? 4.5 : room > 8 ? 3.5 : room > 3 ? 2.5 : 1.5;
  for (const mark of seen) draw(u, mark, px(size), colours, view.sign(mark.entry.author));
}

function draw(u, mark, size, colours, { colour, shape }) {
  const { ctx } = u;
  const [left, top] = spot(u, mark);
  ctx.save();
  ctx.translate(left, top);
  ctx.scale(size, size);
  ctx.lineWidth = px(1.5) / size;
  ctx.strokeStyle = colour;
  if (mark.sort === 'refused') {
    ctx.lineWidth = px(2) / size;
    ctx.strokeStyle = colours.refused;
    ctx.stroke(path(CROSS));
  } else {
    const hollow = mark.entry.kind === 'external' || mark.sort === 'kept'; // by hand, or asked for and not moved
    ctx.fillStyle = hollow ? colours.ground : colour;
    ctx.fill(path(SHAPES[shape % SHAPES.length]));
    if (!hollow) ctx.strokeStyle = colours.ground;
    if (hollow || size > px(4)) ctx.stroke(path(SHAPES[shape % SHAPES.length]));
  }
  ctx.restore();
}

/** Where a mark is drawn, in canvas pixels: one beyond the scale stands at its edge. */
export function spot(u, mark) {
  const { top, height } = u.bbox;
  const edge = px(6);
  return [x(u, mark.time), Math.min(Math.max(y(u, mark.y), top + edge), top + height - edge)];
}

// Draws what is in view, and of that no more than there are pixels: marks that begin in one column of
// pixels are one column. What a frame has drawn is counted, so that a test can tell.

const ROW = 20;
const AXIS = 20;
const STRIP = 16;
const STRIPS_MAX = 3;
const FONT = '11px system-ui, sans-serif';
// About the width of a letter, to cut names short without measuring each.
const LETTER = 6.4;
// Marks that are at least so wide are drawn one by one.
const WIDE = 2;
const BAND_COLOURS = new Map([
  ['kill', 'kill'],
  ['restart', 'kill'],
  ['pause', 'pause'],
  ['partition', 'cut'],
  ['move_leader', 'move'],
]);

/** The colours of the style, in the scheme that the reader prefers. */
function palette() {
  const style = getComputedStyle(document.documentElement);
  const names = ['ink', 'dim', 'paper', 'line', 'bad', 'unknown', 'c1', 'c2', 'c3', 'c4', 'c5', 'c6'];
  const shades = ['fault', 'kill', 'pause', 'cut', 'move'];
  const colours = {};
  for (const name of [...names, ...shades]) colours[name] = style.getPropertyValue(`--${name}`).trim();
  return colours;
}

/** Steps of an axis that are easily read: at least `least` apart. */
function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((times) => times * power).find((step) => step >= least * 0.999);
}

/** A time of the history, with so many digits that steps differ. */
function timeName(time, step) {
  if (facts.clock === 'events') return `event ${Math.round(time + facts.origin).toLocaleString('en')}`;
  const digits = Math.min(9, Math.max(0, Math.ceil(9 - Math.log10(Math.max(step, 1)))));
  return `${((time + facts.origin) / 1e9).toFixed(digits)} s`;
}

function lengthName(length) {
  if (facts.clock === 'events') return `${Math.round(length).toLocaleString('en')} event${length === 1 ? '' : 's'}`;
  const [unit, name] = [[1e9, 's'], [1e6, 'ms'], [1e3, 'µs'], [1, 'ns']].find(([own]) => length >= own) ?? [1, 'ns'];
  return `${(length / unit).toPrecision(3).replace(/\.?0+$/, '')} ${name}`;
}

/** Rectangles by colour, so that each colour is set once. */
class Batch {
  constructor() {
    this.byColour = new Map();
  }

  add(colour, left, top, width, height) {
    if (!this.byColour.has(colour)) this.byColour.set(colour, []);
    this.byColour.get(colour).push(left, top, width, height);
  }

  each(draw) {
    for (const [colour, list] of this.byColour)
      for (let at = 0; at < list.length; at += 4) draw(colour, list[at], list[at + 1], list[at + 2], list[at + 3]);
  }
}

class Picture {
  constructor(history, canvas, overview) {
    this.history = history;
    this.canvas = canvas;
    this.overview = overview;
    this.view = { from: 0, to: facts.span, top: 0 };
    this.shows = { order: true, watches: true };
    this.violation = -1;
    this.chosen = -1;
    this.pinned = [];
    this.width = 0;
    this.frame = { number: 0, marks: 0, milliseconds: 0 };
    this.strips = this.placeBands();
    this.flagged = [...new Set(facts.violations.flatMap((own) => own.marks).filter((mark) => mark !== null))];
    this.arrange();
    this.recolour();
    this.resize();
  }

  /** A strip for each fault, so that those which overlap are below each other. */
  placeBands() {
    const ends = [];
    this.bands = facts.bands
      .map(([name, kind, start, end]) => ({ name, kind, start, end: end ?? facts.span }))
      .sort((a, b) => a.start - b.start);
    for (const band of this.bands) {
      const free = ends.findIndex((end) => end <= band.start);
      band.strip = (free < 0 ? ends.length : free) % STRIPS_MAX;
      ends[free < 0 ? ends.length : free] = band.end;
    }
    // A name may go on up to the next fault in its strip.
    const next = [];
    for (const band of this.bands.toReversed()) {
      band.free = next[band.strip] ?? Infinity;
      next[band.strip] = band.start;
    }
    return Math.min(ends.length, STRIPS_MAX);
  }

  /** Which lane is in which row: those of the violation first. */
  arrange() {
    const shown = (lane, place) => !this.pinned.includes(place) && (this.shows.watches || !lane.watch);
    const others = this.history.lanes.flatMap((lane, place) => (shown(lane, place) ? [place] : []));
    this.rows = [...this.pinned, ...others];
    this.rowOf = new Int32Array(this.history.lanes.length).fill(-1);
    this.rows.forEach((lane, row) => {
      this.rowOf[lane] = row;
    });
  }

  recolour() {
    this.colours = palette();
    this.background = null;
    const tile = document.createElement('canvas');
    tile.width = 6;
    tile.height = 6;
    const context = tile.getContext('2d');
    context.strokeStyle = this.colours.unknown;
    context.lineWidth = 1.3;
    context.beginPath();
    for (const shift of [-6, 0, 6]) {
      context.moveTo(shift, 6);
      context.lineTo(shift + 6, 0);
    }
    context.stroke();
    this.hatch = context.createPattern(tile, 'repeat');
  }

  /** Fits the canvases into the page. */
  resize() {
    const width = this.canvas.parentElement.clientWidth;
    // Not laid out.
    if (width === 0) return;
    this.gutter = width < 640 ? 44 : 132;
    this.head = AXIS + this.strips * STRIP;
    this.foot = facts.counts.order > 0 ? AXIS : 4;
    const wanted = this.head + this.foot + this.rows.length * ROW;
    const most = Math.max(260, window.innerHeight * 0.6);
    const height = Math.round(Math.max(160, Math.min(wanted, most)));
    this.width = width;
    this.height = height;
    this.background = null;
    for (const [canvas, own] of [[this.canvas, height], [this.overview, 56]]) {
      const ratio = window.devicePixelRatio || 1;
      canvas.style.height = `${own}px`;
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(own * ratio);
      canvas.getContext('2d').setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    this.limit();
    this.request();
  }

  get plotWidth() {
    return this.width - this.gutter;
  }

  get plotHeight() {
    return this.height - this.head - this.foot;
  }

  get scale() {
    return this.plotWidth / (this.view.to - this.view.from);
  }

  x(time) {
    return this.gutter + (time - this.view.from) * this.scale;
  }

  time(x) {
    return this.view.from + (x - this.gutter) / this.scale;
  }

  /** The top of a row. */
  y(row) {
    return this.head + row * ROW - this.view.top;
  }

  /** Looks at `from .. to`, not much beyond the history. */
  look(from, to) {
    // Of a history of a moment, a moment can be seen.
    const least = Math.min(facts.clock === 'events' ? 4 : 200, facts.span / 8);
    const span = Math.min(Math.max(to - from, least), facts.span * 1.1);
    const middle = (from + to) / 2;
    const margin = span * 0.05;
    const latest = facts.span + margin - span;
    const start = Math.max(-margin, Math.min(middle - span / 2, latest));
    this.view.from = start;
    this.view.to = start + span;
    this.limit();
    this.request();
  }

  zoom(x, times) {
    const { from, to } = this.view;
    const at = this.time(x);
    this.look(at - (at - from) * times, at + (to - at) * times);
  }

  pan(across, down) {
    const { from, to } = this.view;
    this.view.top += down;
    this.look(from + across / this.scale, to + across / this.scale);
  }

  limit() {
    const most = Math.max(0, this.rows.length * ROW - this.plotHeight);
    this.view.top = Math.max(0, Math.min(this.view.top, most));
  }

  /** Draws before the next frame, once. */
  request() {
    if (this.requested || this.width === 0) return;
    this.requested = true;
    requestAnimationFrame(() => {
      this.requested = false;
      const began = performance.now();
      this.marks = 0;
      this.draw();
      this.drawOverview();
      const { number } = this.frame;
      this.frame = { number: number + 1, marks: this.marks, milliseconds: performance.now() - began };
      this.drawn?.();
    });
  }

  draw() {
    const context = this.canvas.getContext('2d');
    context.font = FONT;
    context.textBaseline = 'middle';
    context.fillStyle = this.colours.paper;
    context.fillRect(0, 0, this.width, this.height);
    context.save();
    context.beginPath();
    context.rect(this.gutter, 0, this.plotWidth, this.height);
    context.clip();
    this.drawBands(context);
    this.drawTimes(context);
    context.beginPath();
    context.rect(this.gutter, this.head, this.plotWidth, this.plotHeight);
    context.clip();
    this.drawRows(context);
    if (this.shows.order) this.drawOrder(context);
    this.drawFlags(context);
    this.drawViolation(context);
    this.drawChosen(context);
    context.restore();
    this.drawNames(context);
    this.drawNumbers(context);
  }

  drawBands(context) {
    let last = null;
    for (const band of this.bands) {
      if (band.end < this.view.from || band.start > this.view.to) continue;
      const left = Math.max(this.x(band.start), this.gutter);
      const width = Math.max(Math.min(this.x(band.end), this.width) - left, 1.5);
      // Those that are not to be told apart are drawn once.
      const pixel = `${Math.floor(left)} ${Math.ceil(width)} ${band.strip} ${band.kind}`;
      if (pixel === last) continue;
      last = pixel;
      this.marks += 1;
      const top = AXIS + band.strip * STRIP;
      context.fillStyle = this.colours[BAND_COLOURS.get(band.kind) ?? 'fault'];
      context.fillRect(left, this.head, width, this.plotHeight);
      context.fillRect(left, top, width, STRIP - 1);
      const free = Math.min(this.x(band.free), this.width) - left;
      this.write(context, band.name, left + 3, top + STRIP / 2, Math.max(width, free) - 6, this.colours.ink);
    }
  }

  drawTimes(context) {
    const step = niceStep((120 * (this.view.to - this.view.from)) / this.plotWidth);
    const { origin } = facts;
    const first = Math.ceil((this.view.from + origin) / step) * step - origin;
    for (let time = first; time <= this.view.to; time += step) {
      const x = this.x(time);
      context.fillStyle = this.colours.line;
      context.fillRect(x, 0, 1, this.head + this.plotHeight);
      context.fillStyle = this.colours.dim;
      context.fillText(timeName(time, step), x + 4, AXIS / 2);
    }
  }

  drawRows(context) {
    const batches = { full: new Batch(), hollow: new Batch(), hatched: new Batch() };
    const labels = [];
    const first = Math.floor(this.view.top / ROW);
    const last = Math.min(this.rows.length - 1, Math.floor((this.view.top + this.plotHeight) / ROW));
    for (let row = first; row <= last; row += 1) this.drawLane(row, batches, labels);
    context.fillStyle = this.hatch;
    batches.hatched.each((_, ...box) => context.fillRect(...box));
    batches.full.each((colour, ...box) => {
      context.fillStyle = this.colours[colour];
      context.fillRect(...box);
    });
    context.lineWidth = 1.2;
    batches.hollow.each((colour, left, top, width, height) => {
      context.strokeStyle = this.colours[colour];
      context.strokeRect(left + 0.6, top + 0.6, Math.max(width - 1.2, 0.5), height - 1.2);
    });
    for (const [text, left, middle, width, ended] of labels) {
      if (ended === UNKNOWN) {
        // Hatching and letters do not go together.
        context.fillStyle = this.colours.paper;
        context.fillRect(left - 2, middle - 6, Math.min(text.length * LETTER, width) + 4, 12);
      }
      this.write(context, text, left, middle, width, this.colours[ended === OK ? 'paper' : 'ink']);
    }
    if (this.pinned.length > 0) {
      context.fillStyle = this.colours.bad;
      context.fillRect(this.gutter, this.y(this.pinned.length) - 1, this.plotWidth, 1);
    }
  }

  drawLane(row, batches, labels) {
    const { history } = this;
    const { starts, ends } = history;
    const { from, to } = history.lanes[this.rows[row]];
    const top = this.y(row) + 3;
    const height = ROW - 6;
    // Marks of a lane do not overlap, so that at most one begins before the view.
    let mark = Math.max(notBelow(starts, this.view.from, from, to) - 1, from);
    if (mark < to && ends[mark] < this.view.from) mark += 1;
    while (mark < to && starts[mark] <= this.view.to) {
      this.marks += 1;
      const left = this.x(starts[mark]);
      const right = this.x(ends[mark]);
      if (right - left >= WIDE) {
        this.addBar(mark, left, right, top, height, batches, labels);
        mark += 1;
        continue;
      }
      let next = notBelowNear(starts, this.time(Math.floor(left) + 1), mark, to);
      if (next <= mark) next = mark + 1;
      // The last one may reach beyond the column.
      if (next - 1 > mark && this.x(ends[next - 1]) - this.x(starts[next - 1]) >= WIDE) next -= 1;
      const one = next - mark === 1;
      const refused = one && history.ended[mark] === FAILED;
      const [, kind] = facts.kinds[history.kinds[mark]];
      const colour = history.hasUnknown(mark, next) ? 'unknown' : refused ? 'dim' : kind;
      batches.full.add(colour, left, top, one ? 2 : 1, height);
      mark = next;
    }
  }

  addBar(mark, left, right, top, height, batches, labels) {
    const [kind, colour] = facts.kinds[this.history.kinds[mark]];
    const start = Math.max(left, this.gutter - 2);
    const width = Math.min(right, this.width + 2) - start;
    const ended = this.history.ended[mark];
    if (ended === OK) {
      // A gap between neighbours, where there is room for one.
      batches.full.add(colour, start, top, width > 4 ? width - 1 : width, height);
    } else if (ended === FAILED) {
      batches.hollow.add(colour, start, top, width, height);
    } else {
      batches.hatched.add(colour, start, top, width, height);
      batches.full.add(colour, left, top, 3, height);
    }
    if (width < 5 * LETTER) return;
    const range = this.history.rangesFrom[mark];
    const named = range < this.history.rangesFrom[mark + 1] ? ` ${facts.keys[this.history.rangeStarts[range]] ?? ''}` : '';
    const number = this.shows.order ? this.history.numberOf(mark) : null;
    const numbered = number === null ? '' : ` ${facts.sign}${number}`;
    labels.push([kind + named + numbered, Math.max(start, this.gutter) + 5, top + height / 2, width - 8, ended]);
  }

  /** Text, cut short to a width; nothing if that leaves too little. */
  write(context, text, left, middle, width, colour) {
    const letters = Math.floor(width / LETTER);
    if (letters < 3 && text.length > letters) return;
    context.fillStyle = colour;
    context.fillText(text.length > letters ? `${text.slice(0, letters - 1)}…` : text, left, middle);
  }

  /** Places of the order that are in view; `null` if they are too many to be told apart. */
  ordersInView() {
    const { latest, earliest } = this.history;
    const first = notBelow(latest, this.view.from);
    const last = notBelow(earliest, this.view.to);
    if (last - first > this.plotWidth) return null;
    return [Math.max(0, first - 1), Math.min(latest.length, last + 1)];
  }

  drawOrder(context) {
    const inView = this.ordersInView();
    if (!inView) return;
    const { ordered, moments } = this.history;
    const points = [];
    for (let place = inView[0]; place < inView[1]; place += 1) {
      const row = this.rowOf[this.history.laneOf(ordered[place])];
      if (row >= 0) points.push([this.x(moments[place]), this.y(row) + ROW - 5]);
    }
    this.marks += points.length;
    context.strokeStyle = this.colours.ink;
    context.globalAlpha = 0.45;
    context.lineWidth = 1.2;
    context.beginPath();
    for (const [x, y] of points) context.lineTo(x, y);
    context.stroke();
    context.globalAlpha = 1;
    for (const [x, y] of points) {
      context.fillStyle = this.colours.paper;
      context.fillRect(x - 2.5, y - 2.5, 5, 5);
      context.fillStyle = this.colours.ink;
      context.fillRect(x - 1.5, y - 1.5, 3, 3);
    }
  }

  /** Where a mark is on the canvas: large enough to be seen. */
  boxOf(mark) {
    const row = this.rowOf[this.history.laneOf(mark)];
    const [start, end] = [this.x(this.history.starts[mark]), this.x(this.history.ends[mark])];
    const open = this.history.ended[mark] === UNKNOWN;
    const right = open ? Math.min(end, start + 60) : end;
    const wider = Math.max(0, (10 - (right - start)) / 2);
    return { left: start - wider, right: right + wider, top: this.y(row) + 1, bottom: this.y(row) + ROW - 1 };
  }

  drawFlags(context) {
    context.fillStyle = this.colours.bad;
    for (const mark of this.flagged) {
      if (this.rowOf[this.history.laneOf(mark)] < 0) continue;
      const { left, right, top } = this.boxOf(mark);
      const middle = (Math.max(left, this.gutter) + Math.min(right, this.width)) / 2;
      context.beginPath();
      context.moveTo(middle - 4, top - 1);
      context.lineTo(middle + 4, top - 1);
      context.lineTo(middle, top + 5);
      context.fill();
    }
  }

  drawViolation(context) {
    const violation = facts.violations[this.violation];
    if (!violation) return;
    context.strokeStyle = this.colours.bad;
    context.lineWidth = 2;
    const boxes = violation.marks.map((mark) => (mark === null ? null : this.boxOf(mark)));
    for (const box of boxes)
      if (box) context.strokeRect(box.left - 1, box.top, box.right - box.left + 2, box.bottom - box.top);
    const names = new Map();
    for (const [from, to, name] of violation.arrows) {
      const pair = `${from} ${to}`;
      names.set(pair, { from, to, name: names.has(pair) ? `${names.get(pair).name}, ${name}` : name });
    }
    for (const { from, to, name } of names.values())
      if (boxes[from] && boxes[to]) this.drawArrow(context, boxes[from], boxes[to], name);
    boxes.forEach((box, place) => {
      if (box) this.drawBadge(context, box, String(place + 1));
    });
  }

  /** Numbers tell which line of the list a mark is. */
  drawBadge(context, box, text) {
    const left = Math.max(box.left - 15, this.gutter);
    context.fillStyle = this.colours.bad;
    context.fillRect(left, box.top, 14, box.bottom - box.top);
    context.fillStyle = this.colours.paper;
    context.textAlign = 'center';
    context.fillText(text, left + 7, (box.top + box.bottom) / 2 + 0.5);
    context.textAlign = 'left';
  }

  drawArrow(context, from, to, name) {
    const middle = (box) => [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
    const [[x1, y1], [x2, y2]] = [middle(from), middle(to)];
    const length = Math.hypot(x2 - x1, y2 - y1) || 1;
    // Bent to its left, so that the way there and the way back are two.
    const bend = Math.max(22, Math.min(40, length / 4));
    const [x, y] = [(x1 + x2) / 2 + ((y2 - y1) / length) * bend, (y1 + y2) / 2 - ((x2 - x1) / length) * bend];
    context.beginPath();
    context.moveTo(x1, y1);
    context.quadraticCurveTo(x, y, x2, y2);
    context.stroke();
    const angle = Math.atan2(y2 - y, x2 - x);
    context.fillStyle = this.colours.bad;
    context.beginPath();
    context.moveTo(x2, y2);
    for (const turn of [-0.4, 0.4]) context.lineTo(x2 - 11 * Math.cos(angle + turn), y2 - 11 * Math.sin(angle + turn));
    context.fill();
    const width = name.length * LETTER + 6;
    const [nameX, nameY] = [(x1 + 2 * x + x2) / 4, (y1 + 2 * y + y2) / 4];
    context.fillStyle = this.colours.paper;
    context.fillRect(nameX - width / 2, nameY - 8, width, 16);
    context.fillStyle = this.colours.bad;
    context.textAlign = 'center';
    context.fillText(name, nameX, nameY + 0.5);
    context.textAlign = 'left';
  }

  drawChosen(context) {
    if (this.chosen < 0 || this.rowOf[this.history.laneOf(this.chosen)] < 0) return;
    const { left, right, top, bottom } = this.boxOf(this.chosen);
    context.strokeStyle = this.colours.ink;
    context.lineWidth = 1.5;
    context.strokeRect(left - 3, top - 1, right - left + 6, bottom - top + 2);
  }

  drawNames(context) {
    context.save();
    context.beginPath();
    context.rect(0, this.head, this.gutter, this.plotHeight);
    context.clip();
    const first = Math.floor(this.view.top / ROW);
    const last = Math.min(this.rows.length - 1, Math.floor((this.view.top + this.plotHeight) / ROW));
    for (let row = first; row <= last; row += 1) {
      const { name, short } = this.history.lanes[this.rows[row]];
      const colour = row < this.pinned.length ? this.colours.bad : this.colours.dim;
      const text = this.gutter < 100 ? short : name;
      this.write(context, text, 2, this.y(row) + ROW / 2, this.gutter - 4, colour);
    }
    context.restore();
  }

  /** How far the order had come, below the picture. */
  drawNumbers(context) {
    const { latest, numbers } = this.history;
    if (latest.length === 0) return;
    const middle = this.height - AXIS / 2 + 1;
    context.fillStyle = this.colours.line;
    context.fillRect(0, this.height - AXIS, this.width, 1);
    this.write(context, this.gutter < 100 ? 'rev' : facts.order, 2, middle, this.gutter - 4, this.colours.dim);
    const apart = 12 * LETTER;
    let last = -1;
    for (let x = this.gutter; x + apart < this.width; x += apart) {
      const place = notBelow(latest, this.time(x)) - 1;
      if (place === last || place < 0) continue;
      last = place;
      context.fillStyle = this.colours.dim;
      context.fillRect(x, this.height - AXIS, 1, 4);
      context.fillText(numbers[place].toLocaleString('en'), x + 4, middle);
    }
  }

  /** The part that does not change with the view is drawn once. */
  overviewBackground() {
    if (this.background) return this.background;
    const canvas = document.createElement('canvas');
    canvas.width = this.overview.width;
    canvas.height = this.overview.height;
    const context = canvas.getContext('2d');
    const ratio = canvas.width / this.width;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const { width } = this;
    const x = (time) => (time / facts.span) * width;
    for (const band of this.bands) {
      context.fillStyle = this.colours[BAND_COLOURS.get(band.kind) ?? 'fault'];
      context.fillRect(x(band.start), 0, Math.max(x(band.end) - x(band.start), 1), 56);
    }
    const all = new Uint32Array(width + 1);
    const odd = new Uint32Array(width + 1);
    const { starts, ended } = this.history;
    for (let mark = 0; mark < starts.length; mark += 1) {
      const column = Math.floor(x(starts[mark]));
      all[column] += 1;
      if (ended[mark] === UNKNOWN) odd[column] += 1;
    }
    const most = Math.sqrt(all.reduce((a, b) => Math.max(a, b), 1));
    for (const [colour, counts] of [['dim', all], ['unknown', odd]]) {
      context.fillStyle = this.colours[colour];
      counts.forEach((count, column) => {
        if (count === 0) return;
        const high = Math.max(2, (Math.sqrt(count) / most) * 44);
        context.fillRect(column, 54 - high, 1, high);
      });
    }
    context.fillStyle = this.colours.bad;
    for (const mark of this.flagged) context.fillRect(x(starts[mark]) - 1, 0, 3, 56);
    this.background = canvas;
    return canvas;
  }

  drawOverview() {
    const context = this.overview.getContext('2d');
    context.fillStyle = this.colours.paper;
    context.fillRect(0, 0, this.width, 56);
    context.drawImage(this.overviewBackground(), 0, 0, this.width, 56);
    const left = (this.view.from / facts.span) * this.width;
    const width = Math.max(8, ((this.view.to - this.view.from) / facts.span) * this.width);
    context.strokeStyle = this.colours.c1;
    context.lineWidth = 2;
    context.strokeRect(left + 1, 1, width - 2, 54);
  }

  /** The fault whose strip is at a place of the canvas. */
  bandAt(x, y) {
    if (x < this.gutter || y < AXIS || y >= this.head) return null;
    const strip = Math.floor((y - AXIS) / STRIP);
    const isHere = ({ start, end }) => x >= this.x(start) - 4 && x <= this.x(end) + 4;
    return this.bands.find((band) => band.strip === strip && isHere(band)) ?? null;
  }

  /** The mark at a place of the canvas. */
  at(x, y) {
    const row = Math.floor((y - this.head + this.view.top) / ROW);
    if (x < this.gutter || y < this.head || y > this.height - this.foot || !(row in this.rows)) return -1;
    const { starts, ends } = this.history;
    const { from, to } = this.history.lanes[this.rows[row]];
    const time = this.time(x);
    const after = notBelow(starts, time, from, to);
    const away = (mark) => Math.max(starts[mark] - time, time - ends[mark], 0) * this.scale;
    const near = [after - 1, after].filter((mark) => mark >= from && mark < to && away(mark) <= 4);
    return near.sort((a, b) => away(a) - away(b))[0] ?? -1;
  }
}

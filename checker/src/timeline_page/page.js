// Listens to the reader: pointers, wheel, keys, buttons. And tells of one operation what is known.

// Keys whose states are told of one operation.
const STATES_MAX = 6;
// Fingers and mice tremble.
const TREMBLE_PX = 5;
const OUTCOMES = ['answered', 'did nothing', 'outcome unknown'];

/** An element with what is in it: text stays text. */
function element(name, ...content) {
  const own = document.createElement(name);
  own.append(...content);
  return own;
}

/** What is known of a mark, as a list of names and words. */
async function known(history, mark, view) {
  const [who, asked, answered] = await history.words.at(mark);
  const ended = history.ended[mark];
  const start = history.starts[mark];
  const list = [
    ['who', `${who}; line ${history.lines[mark]}`],
    ['asked', asked],
  ];
  if (answered) list.push([OUTCOMES[ended], answered]);
  const length = history.ends[mark] - start;
  let when = `from ${timeName(start, Math.min(1000, (view.to - view.from) / 100))}`;
  if (ended === UNKNOWN) when += ', at any time after that or never';
  else if (length > 0) when += ` for ${lengthName(length)}`;
  list.push(['when', when]);
  return [...list, ...(await statesOf(history, mark))];
}

/** The revision of a mark, and what its keys held. */
async function statesOf(history, mark) {
  const number = history.numberOf(mark);
  const revision = history.revisions[mark];
  if (revision === 0) return number === null ? [] : [[facts.order, String(number)]];
  const wrote = number !== null;
  const list = [['revision', wrote ? `${revision}, made by this` : String(revision)]];
  const seen = history.lookedAt[mark];
  if (seen !== revision) list.push(['read at revision', String(seen)]);
  const [first, last] = [history.rangesFrom[mark], history.rangesFrom[mark + 1]];
  if (first === last) return list;
  if (seen > facts.done) return [...list, ['state', 'not known: the checker could not follow the store so far']];
  const sure = seen <= facts.certain ? '' : ', in one of the ways it can have been';
  if (wrote) list.push([`before${sure}`, await heldBy(history, first, last, seen - 1)]);
  list.push([`${wrote ? 'after' : 'state then'}${sure}`, await heldBy(history, first, last, seen)]);
  return list;
}

async function heldBy(history, first, last, revision) {
  const told = [];
  for (let range = first; range < last; range += 1) {
    const start = history.rangeStarts[range];
    const length = history.rangeLengths[range];
    for (let key = start; key < start + length; key += 1) {
      const held = await history.held(key, revision);
      if (held === null && length > 1) continue;
      if (told.length === STATES_MAX) return [...told, '…'].join('\n');
      told.push(held ?? `${facts.keys[key]} is not there`);
    }
  }
  return told.length === 0 ? 'no key' : told.join('\n');
}

async function described(history, mark, view) {
  const [kind] = facts.kinds[history.kinds[mark]];
  const terms = (await known(history, mark, view)).flatMap(([name, words]) => [element('dt', name), element('dd', words)]);
  return [element('strong', kind), element('dl', ...terms)];
}

/** What the reader does, and what comes of it. */
class Page {
  constructor(picture) {
    this.picture = picture;
    this.history = picture.history;
    this.canvas = picture.canvas;
    this.tip = byId('tip');
    this.pointers = new Map();
    picture.drawn = () => this.tellView();
    this.listenToPointers();
    this.listenToOverview();
    this.canvas.addEventListener('keydown', (event) => this.press(event));
    this.listenToTools();
    new ResizeObserver(() => picture.resize()).observe(byId('frame'));
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
      picture.recolour();
      picture.request();
    });
    if (facts.violations.length > 0) this.showViolation(0);
  }

  tellView() {
    const { from, to } = this.picture.view;
    byId('where').textContent = `${lengthName(to - from)} from ${timeName(Math.max(0, from), (to - from) / 10)}`;
  }

  listenToTools() {
    const middle = () => this.picture.gutter + this.picture.plotWidth / 2;
    const verbs = {
      nearer: () => this.picture.zoom(middle(), 0.5),
      farther: () => this.picture.zoom(middle(), 2),
      whole: () => this.picture.look(0, facts.span),
      previous: () => this.stepViolation(-1),
      next: () => this.stepViolation(1),
    };
    for (const [id, verb] of Object.entries(verbs)) byId(id)?.addEventListener('click', verb);
    for (const id of ['order', 'watches'])
      byId(id)?.addEventListener('change', (event) => {
        this.picture.shows[id] = event.target.checked;
        this.picture.arrange();
        this.picture.resize();
      });
    for (const button of document.querySelectorAll('button[data-violation]'))
      button.addEventListener('click', () => {
        const { violation, place } = button.dataset;
        this.showViolation(Number(violation), place === undefined ? null : Number(place));
        this.canvas.scrollIntoView({ block: 'nearest' });
      });
  }

  stepViolation(step) {
    const count = facts.violations.length;
    if (count > 0) this.showViolation((this.picture.violation + step + count) % count);
  }

  /** Brings a violation into view, or one of the lines that it names. */
  showViolation(number, place = null) {
    const { picture, history } = this;
    const { marks } = facts.violations[number];
    picture.violation = number;
    const found = marks.filter((mark) => mark !== null);
    picture.pinned = [...new Set(found.map((mark) => history.laneOf(mark)))];
    picture.arrange();
    picture.resize();
    const which = byId('which');
    which.textContent = `violation ${number + 1} of ${facts.violations.length}`;
    const looked = place === null ? found : [marks[place]];
    if (place !== null) this.choose(marks[place]);
    if (looked.length > 0) {
      const from = Math.min(...looked.map((mark) => history.starts[mark]));
      const lasts = looked.map((mark) => (history.ended[mark] === UNKNOWN ? history.starts[mark] : history.ends[mark]));
      const to = Math.max(...lasts);
      const margin = Math.max((to - from) * (place === null ? 0.4 : 3), facts.clock === 'events' ? 4 : 1000);
      picture.view.top = place === null ? 0 : picture.rowOf[history.laneOf(marks[place])] * ROW - 2 * ROW;
      picture.look(from - margin, to + margin);
    }
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  listenToPointers() {
    const { canvas, picture } = this;
    canvas.addEventListener('pointerdown', (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, moved: false });
      this.hideTip();
    });
    canvas.addEventListener('pointermove', (event) => {
      const pointer = this.pointers.get(event.pointerId);
      if (pointer) this.drag(pointer, event);
      else this.hover(event);
    });
    canvas.addEventListener('pointerup', (event) => {
      const pointer = this.pointers.get(event.pointerId);
      if (pointer && !pointer.moved && this.pointers.size === 1) this.choose(picture.at(...this.place(event)));
    });
    for (const name of ['pointerup', 'pointercancel'])
      canvas.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
    canvas.addEventListener('pointerleave', () => this.hideTip());
    canvas.addEventListener('dblclick', (event) => picture.zoom(this.place(event)[0], 0.25));
    canvas.addEventListener('wheel', (event) => this.wheel(event), { passive: false });
  }

  drag(pointer, event) {
    const [across, down] = [event.clientX - pointer.x, event.clientY - pointer.y];
    if (!pointer.moved && Math.hypot(across, down) < TREMBLE_PX) return;
    pointer.moved = true;
    const others = [...this.pointers.values()].filter((own) => own !== pointer);
    if (others.length === 0) this.picture.pan(-across, -down);
    else {
      // Two fingers: what is between them grows with their distance.
      const [other] = others;
      const before = Math.abs(pointer.x - other.x);
      const after = Math.abs(event.clientX - other.x);
      const box = this.canvas.getBoundingClientRect();
      const middle = (event.clientX + other.x) / 2 - box.left;
      if (before > 20 && after > 20) this.picture.zoom(middle, before / after);
    }
    [pointer.x, pointer.y] = [event.clientX, event.clientY];
  }

  wheel(event) {
    event.preventDefault();
    this.hideTip();
    const [x] = this.place(event);
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? ROW : 1;
    const [across, down] = [event.deltaX * unit, event.deltaY * unit];
    if (event.shiftKey || Math.abs(across) > Math.abs(down)) this.picture.pan(across || down, 0);
    else if (x < this.picture.gutter || event.altKey) this.picture.pan(0, down);
    else this.picture.zoom(x, 1.0015 ** down);
  }

  hover(event) {
    if (event.pointerType === 'touch') return;
    const mark = this.picture.at(...this.place(event));
    if (mark < 0) {
      this.hideTip();
      const band = this.picture.bandAt(...this.place(event));
      if (band) this.showTip(this.describeFault(band), event.clientX, event.clientY);
      return;
    }
    this.tipMark = mark;
    const { clientX, clientY } = event;
    this.describe(mark).then((content) => {
      if (this.tipMark === mark) this.showTip(content, clientX, clientY);
    });
  }

  describeFault({ name, start, end }) {
    const when = `from ${timeName(start, 1e6)} for ${lengthName(end - start)}`;
    return [element('strong', name), element('div', when)];
  }

  /** Words that cannot be read are said to be so, and not left out. */
  async describe(mark) {
    try {
      return await described(this.history, mark, this.picture.view);
    } catch (error) {
      console.error(error);
      return [element('strong', `line ${this.history.lines[mark]} cannot be told: ${error.message}`)];
    }
  }

  showTip(content, x, y) {
    const { tip } = this;
    tip.replaceChildren(...content);
    tip.hidden = false;
    const frame = byId('frame').getBoundingClientRect();
    const left = Math.min(x - frame.left + 14, frame.width - tip.offsetWidth);
    tip.style.left = `${Math.max(0, left)}px`;
    // Above the pointer where there is no room below.
    const below = y + 16 + tip.offsetHeight < window.innerHeight;
    tip.style.top = `${below ? y - frame.top + 16 : y - frame.top - 12 - tip.offsetHeight}px`;
  }

  hideTip() {
    this.tipMark = -1;
    this.tip.hidden = true;
  }

  choose(mark) {
    if (mark < 0) return;
    this.picture.chosen = mark;
    this.picture.request();
    this.describe(mark).then((content) => {
      if (this.picture.chosen === mark) byId('chosen').replaceChildren(element('h2', 'Operation'), ...content);
    });
  }

  /** Chooses a neighbour, and brings it into view. */
  stepMark(along, across) {
    const { picture, history } = this;
    const { view } = picture;
    let mark = picture.chosen;
    if (mark < 0) mark = this.nearMiddle(Math.floor(view.top / ROW));
    else if (along !== 0) {
      const { from, to } = history.lanes[history.laneOf(mark)];
      mark = Math.max(from, Math.min(mark + along, to - 1));
    } else mark = this.nearMiddle(picture.rowOf[history.laneOf(mark)] + across, history.starts[mark]);
    if (mark < 0) return;
    this.choose(mark);
    const y = picture.y(picture.rowOf[history.laneOf(mark)]);
    if (y < picture.head) picture.pan(0, y - picture.head);
    if (y + ROW > picture.height - picture.foot) picture.pan(0, y + ROW - picture.height + picture.foot);
    const { left, right } = picture.boxOf(mark);
    if (right > picture.width || left < picture.gutter) {
      const middle = picture.gutter + picture.plotWidth / 2;
      picture.pan(Math.max(left, Math.min(right, left + picture.plotWidth)) - middle, 0);
    }
  }

  /** The mark of a row that is next to a time; without one to the middle of the view. */
  nearMiddle(row, time = (this.picture.view.from + this.picture.view.to) / 2) {
    const lane = this.history.lanes[this.picture.rows[row]];
    if (!lane || lane.from === lane.to) return -1;
    return Math.min(notBelow(this.history.starts, time, lane.from, lane.to), lane.to - 1);
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { picture } = this;
    const page = picture.plotWidth;
    const middle = picture.gutter + page / 2;
    const moves = event.shiftKey
      ? {
          ArrowLeft: () => this.stepMark(-1, 0),
          ArrowRight: () => this.stepMark(1, 0),
          ArrowUp: () => this.stepMark(0, -1),
          ArrowDown: () => this.stepMark(0, 1),
        }
      : {
          ArrowLeft: () => picture.pan(-page / 8, 0),
          ArrowRight: () => picture.pan(page / 8, 0),
          ArrowUp: () => picture.pan(0, -2 * ROW),
          ArrowDown: () => picture.pan(0, 2 * ROW),
        };
    const verb = {
      ...moves,
      PageUp: () => picture.pan(-page, 0),
      PageDown: () => picture.pan(page, 0),
      Home: () => picture.look(0, picture.view.to - picture.view.from),
      End: () => picture.look(facts.span - (picture.view.to - picture.view.from), facts.span),
      '+': () => picture.zoom(middle, 0.7),
      '=': () => picture.zoom(middle, 0.7),
      '-': () => picture.zoom(middle, 1 / 0.7),
      0: () => picture.look(0, facts.span),
      n: () => this.stepViolation(1),
      p: () => this.stepViolation(-1),
    }[event.key];
    if (!verb) return;
    event.preventDefault();
    this.hideTip();
    verb();
  }

  listenToOverview() {
    const { picture } = this;
    const { overview } = picture;
    const centre = (event) => {
      const box = overview.getBoundingClientRect();
      const time = ((event.clientX - box.left) / box.width) * facts.span;
      const half = (picture.view.to - picture.view.from) / 2;
      picture.look(time - half, time + half);
    };
    overview.addEventListener('pointerdown', (event) => {
      overview.setPointerCapture(event.pointerId);
      centre(event);
    });
    overview.addEventListener('pointermove', (event) => {
      if (overview.hasPointerCapture(event.pointerId)) centre(event);
    });
    overview.addEventListener('wheel', (event) => {
      event.preventDefault();
      picture.zoom(picture.gutter + picture.plotWidth / 2, 1.0015 ** event.deltaY);
    }, { passive: false });
  }
}

/** For tests: what is in view, as it was drawn. */
function outside(picture) {
  const inWindow = ({ left, right, top, bottom }) => {
    const box = picture.canvas.getBoundingClientRect();
    return { left: box.left + left, right: box.left + right, top: box.top + top, bottom: box.top + bottom };
  };
  const { gutter, width, head } = picture;
  return {
    marks: picture.history.count,
    violations: facts.violations.length,
    frame: () => picture.frame,
    /** Where the marks of the violation that is shown are in the window. */
    boxes: () =>
      (facts.violations[picture.violation]?.marks ?? [])
        .filter((mark) => mark !== null)
        .map((mark) => inWindow(picture.boxOf(mark))),
    /** Where marks can be seen. */
    plot: () => inWindow({ left: gutter, right: width, top: head, bottom: head + picture.plotHeight }),
    view: () => ({ ...picture.view }),
    /** More than this no frame need draw. */
    marksMax: () => {
      const rows = Math.ceil(picture.plotHeight / ROW) + 1;
      return rows * picture.plotWidth * 2 + picture.plotWidth + facts.bands.length;
    },
  };
}

window.timeline = History.read().then((history) => {
  const picture = new Picture(history, byId('lanes'), byId('overview'));
  const page = new Page(picture);
  return outside(page.picture);
});

// Reads what the page holds: facts, columns of numbers, and blocks of words. `columns.rs` writes them.

const byId = (id) => document.getElementById(id);

const OK = 0;
const FAILED = 1;
const UNKNOWN = 2;
// Blocks of words that stay open.
const OPEN_BLOCKS = 32;

const facts = JSON.parse(byId('facts').textContent);

/** What was compressed, as bytes. */
async function opened(text) {
  const raw = atob(text.trim());
  const bytes = new Uint8Array(raw.length);
  for (let at = 0; at < raw.length; at += 1) bytes[at] = raw.charCodeAt(at);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Numbers, one after the other: as they are, or each as what it is more than the one before. */
class Column {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
    this.last = 0;
  }

  next() {
    let number = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.bytes[this.at];
      this.at += 1;
      number += (byte & 0x7f) * scale;
      if (byte < 0x80) return number;
    }
  }

  step() {
    const number = this.next();
    this.last += number % 2 === 0 ? number / 2 : -(number + 1) / 2;
    return this.last;
  }
}

async function column(id) {
  const script = byId(id);
  const bytes = await opened(script.textContent);
  script.remove();
  return new Column(bytes);
}

/** Words by place, in blocks that are opened when they are asked for. */
class Words {
  constructor(id) {
    this.blocks = byId(id).textContent.trim().split('\n');
    this.open = new Map();
  }

  async at(place) {
    const number = Math.floor(place / facts.block);
    if (!this.open.has(number)) {
      if (this.open.size >= OPEN_BLOCKS) this.open.delete(this.open.keys().next().value);
      const read = async () => JSON.parse(new TextDecoder().decode(await opened(this.blocks[number])));
      this.open.set(number, read());
    }
    return (await this.open.get(number))[place % facts.block];
  }
}

/** The first place in `from .. to` of an ascending list whose number is not below `number`. */
function notBelow(list, number, from = 0, to = list.length) {
  let [low, high] = [from, to];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (list[middle] < number) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The same, looked for from `from` on in growing steps: quick where it is near. */
function notBelowNear(list, number, from, to) {
  let step = 1;
  let low = from;
  while (low + step < to && list[low + step] < number) {
    low += step;
    step *= 2;
  }
  return notBelow(list, number, low, Math.min(low + step + 1, to));
}

/** The history: its lanes, its marks, their order, and what was in the keys. */
class History {
  static async read() {
    const own = new History();
    own.lanes = [];
    let from = 0;
    for (const { name, short, watch, marks } of facts.lanes) {
      own.lanes.push({ name, short, watch, from, to: from + marks });
      from += marks;
    }
    own.lanesFrom = own.lanes.map((lane) => lane.from);
    await own.readMarks();
    await own.readOrder();
    await own.readChanges();
    own.words = new Words('words');
    own.changedWords = new Words('changed');
    return own;
  }

  async readMarks() {
    const { marks: count, ranges } = facts.counts;
    this.count = count;
    this.starts = new Float64Array(count);
    this.ends = new Float64Array(count);
    this.kinds = new Uint16Array(count);
    this.ended = new Uint8Array(count);
    this.lines = new Float64Array(count);
    this.revisions = new Float64Array(count);
    this.lookedAt = new Float64Array(count);
    this.rangesFrom = new Uint32Array(count + 1);
    this.rangeStarts = new Uint32Array(ranges);
    this.rangeLengths = new Uint32Array(ranges);
    const names = ['starts', 'lengths', 'kinds', 'lines', 'revisions', 'looked', 'keys'];
    const [starts, lengths, kinds, lines, revisions, looked, keys] = await Promise.all(names.map(column));
    const odd = [];
    let range = 0;
    for (let mark = 0; mark < count; mark += 1) {
      this.starts[mark] = starts.step() * facts.tick;
      const length = lengths.next();
      this.ends[mark] = length === 0 ? -1 : this.starts[mark] + (length - 1) * facts.tick;
      const what = kinds.next();
      this.kinds[mark] = what >>> 3;
      this.ended[mark] = (what >>> 1) & 3;
      if (this.ended[mark] !== OK) odd.push(mark);
      this.lines[mark] = lines.step();
      this.revisions[mark] = revisions.step();
      this.lookedAt[mark] = this.revisions[mark] + looked.step();
      for (let own = keys.next(); own > 0; own -= 1) {
        this.rangeStarts[range] = keys.next();
        this.rangeLengths[range] = keys.next();
        range += 1;
      }
      this.rangesFrom[mark + 1] = range;
    }
    /** Marks that were not answered. */
    this.odd = Uint32Array.from(odd);
    // What has no end goes on to what comes next, or to the end of everything.
    for (const { from, to } of this.lanes)
      for (let mark = from; mark < to; mark += 1)
        if (this.ends[mark] < 0) this.ends[mark] = mark + 1 < to ? this.starts[mark + 1] : facts.span;
  }

  /** When each mark of the order can have taken effect at the earliest, given the ones before it. */
  async readOrder() {
    const count = facts.counts.order;
    const [marks, numbers] = [await column('ordered'), await column('numbers')];
    this.ordered = new Uint32Array(count);
    this.numbers = new Float64Array(count);
    this.moments = new Float64Array(count);
    this.latest = new Float64Array(count);
    this.earliest = new Float64Array(count);
    let now = 0;
    let latest = 0;
    for (let place = 0; place < count; place += 1) {
      const mark = marks.step();
      this.ordered[place] = mark;
      this.numbers[place] = numbers.step();
      now = Math.min(Math.max(now, this.starts[mark]), this.ends[mark]);
      latest = Math.max(latest, now);
      this.moments[place] = now;
      this.latest[place] = latest;
    }
    let earliest = Infinity;
    for (let place = count - 1; place >= 0; place -= 1) {
      earliest = Math.min(earliest, this.moments[place]);
      this.earliest[place] = earliest;
    }
  }

  async readChanges() {
    const count = facts.counts.changes;
    const [revisions, keys] = [await column('changes'), await column('changed-keys')];
    this.changes = new Float64Array(count);
    this.changedKeys = new Uint32Array(count);
    for (let place = 0; place < count; place += 1) {
      this.changes[place] = revisions.step();
      this.changedKeys[place] = keys.next();
    }
  }

  /** Places of the changes of each key, those of one key together: sorted once, when first asked for. */
  changesOf(key) {
    if (!this.byKey) {
      const ends = new Uint32Array(facts.keys.length + 1);
      for (const own of this.changedKeys) ends[own + 1] += 1;
      for (let own = 0; own < facts.keys.length; own += 1) ends[own + 1] += ends[own];
      const next = ends.slice();
      const places = new Uint32Array(this.changedKeys.length);
      this.changedKeys.forEach((own, place) => {
        places[next[own]] = place;
        next[own] += 1;
      });
      this.byKey = { ends, places };
    }
    const { ends, places } = this.byKey;
    return places.subarray(ends[key], ends[key + 1]);
  }

  /** What a key held at a revision; nothing if it was not there. */
  async held(key, revision) {
    const places = this.changesOf(key);
    let [low, high] = [0, places.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.changes[places[middle]] <= revision) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? null : this.changedWords.at(places[low - 1]);
  }

  /** The place of a mark in the order; `null` if it has none. */
  numberOf(mark) {
    if (!this.byMark) {
      this.byMark = new Float64Array(this.count).fill(NaN);
      this.ordered.forEach((own, place) => {
        this.byMark[own] = this.numbers[place];
      });
    }
    return Number.isNaN(this.byMark[mark]) ? null : this.byMark[mark];
  }

  laneOf(mark) {
    return notBelow(this.lanesFrom, mark + 1) - 1;
  }

  /** Whether the outcome of one of `from .. to` is unknown; looks at some of those that were not answered. */
  hasUnknown(from, to) {
    let place = notBelow(this.odd, from);
    for (let left = 8; left > 0 && this.odd[place] < to; left -= 1, place += 1)
      if (this.ended[this.odd[place]] === UNKNOWN) return true;
    return false;
  }
}

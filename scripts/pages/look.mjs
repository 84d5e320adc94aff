// Looks at pages as a person would, and takes pictures of them.
//
// Usage: look.mjs [--browser PATH] FOLDER NAME=PAGE...
//
// Each page is opened in light and dark, 1280 and 400 pixels wide; its pictures go to FOLDER, with its
// name. What is wrong is printed, a line each, and the exit code is 1. First planted.html is opened, in which one of
// each kind of mistake was made: a look that does not find them all sees nothing, and exits with 2.
//
// A page with a timeline is asked more: whether the violation at which it opens is where a reader sees it, whether
// pointing at it tells something, and what each frame draws while the reader moves through the history.

import { mkdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { createRequire } from 'node:module';

// Installed elsewhere, so not found by the place of this file.
const require = createRequire(join(process.env.PAGES_MODULES, 'none.js'));
const { chromium } = require('playwright-core');

const SCHEMES = ['light', 'dark'];
const WIDTHS = [1280, 400];
const HEIGHT = 900;
// Contrast of text that people can read: level AA of WCAG 2.2, section 1.4.3.
const CONTRAST_MIN = 4.5;
// Text that is smaller on the screen is not read.
const TEXT_PX_MIN = 9;
// Boxes of letters are a little larger than the letters.
const OVERLAP_PX = 2;
// A frame of a timeline that takes longer is felt, also on a slow machine without a GPU.
const FRAME_MS_MAX = 500;
// What comes of an event comes within this time, or never.
const PATIENCE_MS = 10_000;
// So many marks leave no room between them.
const LONG = 1000;
let patience = PATIENCE_MS;
// Frames after which a history was gone through, from the whole of it to single operations.
const FRAMES_MAX = 60;
const LAYOUT_KINDS = ['wide', 'contrast', 'overlap', 'outside', 'small', 'unnamed'];
const TIMELINE_KINDS = ['unseen', 'silent', 'stuck', 'slow'];
const KINDS = ['console', 'script', 'request', ...LAYOUT_KINDS, ...TIMELINE_KINDS];

/** What is wrong with the page as it is laid out. Runs in the browser. */
function layout({ contrastMin, textPxMin, overlapPx }) {
  const found = [];
  const channel = (value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  };
  const luminance = ([red, green, blue]) =>
    0.2126 * channel(red) + 0.7152 * channel(green) + 0.0722 * channel(blue);
  const colour = (text) => text.match(/[\d.]+/g).map(Number);
  const background = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const [red, green, blue, alpha = 1] = colour(getComputedStyle(at).backgroundColor);
      if (alpha === 1) return [red, green, blue];
    }
    return [255, 255, 255];
  };
  const words = (element) => element.textContent.trim().replace(/\s+/g, ' ').slice(0, 40);
  const isText = (node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim() !== '';
  const scale = (element) => {
    const svg = element.ownerSVGElement;
    return svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1;
  };
  const written = [...document.body.querySelectorAll('*')].filter(
    (element) =>
      element.checkVisibility() && element.localName !== 'title' && [...element.childNodes].some(isText),
  );
  for (const element of written) {
    const style = getComputedStyle(element);
    const ink = colour(element.ownerSVGElement ? style.fill : style.color);
    const [light, dark] = [luminance(ink), luminance(background(element))].sort((a, b) => b - a);
    const contrast = (light + 0.05) / (dark + 0.05);
    if (contrast < contrastMin) found.push(['contrast', `${contrast.toFixed(2)}: ${words(element)}`]);
    const size = parseFloat(style.fontSize) * scale(element);
    if (size < textPxMin) found.push(['small', `${size.toFixed(1)} px: ${words(element)}`]);
  }
  const over = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (over > 0) found.push(['wide', `the page is ${over} px wider than the window`]);
  for (const svg of document.querySelectorAll('svg')) {
    if (!svg.getAttribute('aria-label')) found.push(['unnamed', 'a picture says nothing to who cannot see it']);
    const edge = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll('text')].map((text) => [text, text.getBoundingClientRect()]);
    for (const [place, [text, box]] of texts.entries()) {
      if (box.left < edge.left - 1 || box.right > edge.right + 1 || box.top < edge.top - 1 || box.bottom > edge.bottom + 1)
        found.push(['outside', words(text)]);
      for (const [other, beside] of texts.slice(place + 1)) {
        const across = Math.min(box.right, beside.right) - Math.max(box.left, beside.left);
        const down = Math.min(box.bottom, beside.bottom) - Math.max(box.top, beside.top);
        if (across > overlapPx && down > overlapPx) found.push(['overlap', `${words(text)} | ${words(other)}`]);
      }
    }
  }
  return found;
}

/** Opens a page once; takes pictures if there is a name for them. Says what is wrong. */
async function look(browser, page, { scheme, width, picture }) {
  const context = await browser.newContext({ colorScheme: scheme, viewport: { width, height: HEIGHT } });
  const tab = await context.newPage();
  const found = [];
  tab.setDefaultTimeout(120_000);
  tab.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) found.push(['console', message.text()]);
  });
  tab.on('pageerror', (error) => found.push(['script', error.message]));
  const url = pathToFileURL(resolve(page)).href;
  tab.on('request', (request) => {
    // A page is one file.
    if (request.url() !== url && !request.url().startsWith('data:')) found.push(['request', request.url()]);
  });
  await tab.goto(url, { waitUntil: 'load' });
  const hasTimeline = await tab.evaluate(() => window.timeline !== undefined);
  if (hasTimeline) found.push(...(await violationInView(tab)));
  const limits = { contrastMin: CONTRAST_MIN, textPxMin: TEXT_PX_MIN, overlapPx: OVERLAP_PX };
  found.push(...(await tab.evaluate(layout, limits)));
  if (picture) await tab.screenshot({ path: `${picture}.png`, fullPage: true });
  if (hasTimeline) found.push(...(await framesOnTheWay(tab, picture)));
  await context.close();
  return found;
}

/** Whether the violation at which a timeline opens is seen, and whether pointing at it tells something. */
async function violationInView(tab) {
  const found = [];
  const [first, inViolation] = await tab.evaluate(async () => {
    const timeline = await window.timeline;
    await new Promise(requestAnimationFrame);
    if (timeline.violations === 0) return [null, []];
    const plot = timeline.plot();
    const bad = getComputedStyle(document.documentElement).getPropertyValue('--bad').trim();
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt(bad.slice(at, at + 2), 16));
    const canvas = document.getElementById('lanes');
    const edge = canvas.getBoundingClientRect();
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    const isBad = (x, y) => {
      const at = 4 * (Math.round((y * canvas.height) / edge.height) * canvas.width + Math.round((x * canvas.width) / edge.width));
      return data[at] === red && data[at + 1] === green && data[at + 2] === blue;
    };
    const wrong = [];
    const boxes = timeline.boxes();
    if (boxes.length === 0) wrong.push('it names nothing that could be seen');
    for (const [place, box] of boxes.entries()) {
      const [x, y] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
      const isIn = x >= plot.left && x <= plot.right && y >= plot.top && y <= plot.bottom;
      const isInWindow = x >= 0 && x < innerWidth && y >= 0 && y < innerHeight;
      if (!isIn || !isInWindow) {
        wrong.push(`line ${place + 1} of the violation is at ${Math.round(x)}, ${Math.round(y)}: not in view`);
        continue;
      }
      // Its left or its right edge must have been drawn, from top to bottom.
      const isLine = (across) => {
        let painted = 0;
        for (let down = box.top + 2; down < box.bottom - 2; down += 1)
          if (isBad(across - edge.left, down - edge.top)) painted += 1;
        return painted > 0.8 * (box.bottom - box.top - 4);
      };
      const near = (x) => [-3, -2, -1, 0, 1, 2].map((step) => Math.floor(x) + step);
      if (![...near(box.left), ...near(box.right)].some(isLine)) wrong.push(`line ${place + 1} of the violation is not marked`);
    }
    const [box] = boxes;
    return [box && [(box.left + box.right) / 2, (box.top + box.bottom) / 2], wrong];
  });
  for (const text of inViolation) found.push(['unseen', text]);
  if (!first) return found;
  await tab.mouse.move(...first);
  const told = () => {
    const tip = document.getElementById('tip');
    return tip !== null && !tip.hidden && tip.querySelectorAll('dd').length >= 2;
  };
  const isTold = await tab.waitForFunction(told, null, { timeout: patience }).then(
    () => true,
    () => false,
  );
  if (!isTold) found.push(['silent', 'pointing at what is wrong tells nothing']);
  return found;
}

/** Moves through a history as a reader does. Each move must be drawn, quickly, and no more than can be seen. */
async function framesOnTheWay(tab, picture) {
  const found = [];
  const state = () =>
    window.timeline.then((timeline) => ({
      ...timeline.frame(),
      most: timeline.marksMax(),
      view: JSON.stringify(timeline.view()),
    }));
  const frames = [];
  const step = async (name, act) => {
    const before = await tab.evaluate(state);
    await act();
    const isNext = (number) => window.timeline.then((timeline) => timeline.frame().number > number);
    const isDrawn = await tab.waitForFunction(isNext, before.number, { timeout: patience }).then(
      () => true,
      () => false,
    );
    const after = await tab.evaluate(state);
    if (!isDrawn) found.push(['stuck', `${name} draws nothing`]);
    if (after.marks > after.most) found.push(['slow', `${name} draws ${after.marks} marks; ${after.most} can be seen`]);
    if (after.milliseconds > FRAME_MS_MAX) found.push(['slow', `${name} is drawn in ${after.milliseconds} ms`]);
    frames.push(after);
    return after.view !== before.view;
  };
  const must = async (name, act) => {
    if (!(await step(name, act))) found.push(['stuck', `${name} leads nowhere`]);
  };
  const [plot, total] = await tab.evaluate(async () => {
    const timeline = await window.timeline;
    return [timeline.plot(), timeline.marks];
  });
  // Where a long history is full: at its end, members are waited for.
  const there = [plot.left + (plot.right - plot.left) * 0.15, (plot.top + plot.bottom) / 2];
  await tab.focus('#lanes');
  const press = (key) => () => tab.keyboard.press(key);
  await step('the whole history', press('0'));
  if (picture) await tab.screenshot({ path: `${picture}-whole.png`, fullPage: true });
  await tab.mouse.move(...there);
  await must('a zoom', press('+'));
  // Nearer and nearer, and each time along the history: by wheel, keys and hand.
  while (frames.length < FRAMES_MAX && found.length === 0) {
    if (!(await step('the wheel', () => tab.mouse.wheel(0, -600)))) break;
    const { marks } = frames[frames.length - 1];
    if (total > LONG && marks === 0) found.push(['stuck', 'where there are marks, none are drawn']);
    await must('a pan to the left', press('ArrowLeft'));
    await must('a page to the right', press('PageDown'));
    await must('a hand that drags', async () => {
      await tab.mouse.down();
      await tab.mouse.move(there[0] + 100, there[1]);
      await tab.mouse.up();
      await tab.mouse.move(...there);
    });
  }
  if (picture) {
    const most = frames.map((frame) => frame.milliseconds).sort((a, b) => a - b);
    const [median, longest] = [most[most.length >> 1], most[most.length - 1]];
    const marks = Math.max(...frames.map((frame) => frame.marks));
    const times = `median ${median.toFixed(1)} ms, longest ${longest.toFixed(1)} ms`;
    console.log(`${frames.length} frames, of ${total} marks at most ${marks} drawn; ${times}`);
  }
  return found;
}

/** What none of the looks at the planted mistakes found. */
async function blindness(browser) {
  // What never comes is not waited for.
  patience = 500;
  const planted = join(dirname(fileURLToPath(import.meta.url)), 'planted.html');
  const seen = new Set();
  for (const [kind] of await look(browser, planted, { scheme: 'dark', width: 400 })) seen.add(kind);
  patience = PATIENCE_MS;
  return KINDS.filter((kind) => !seen.has(kind));
}

/** A browser that is named, or the one that was installed with us. */
async function launch(named) {
  // Drawn by the browser's own process: with a GPU's process that is not there, pictures fail now and then.
  const drawing = ['--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--in-process-gpu'];
  const args = ['--no-sandbox', '--disable-background-networking', '--disable-component-update', ...drawing];
  if (named) return chromium.launch({ executablePath: named, args });
  const { default: installed } = await import(require.resolve('@sparticuz/chromium'));
  return chromium.launch({ executablePath: await installed.executablePath(), args });
}

const { values, positionals } = parseArgs({ options: { browser: { type: 'string' } }, allowPositionals: true });
const [folder, ...pages] = positionals;
mkdirSync(folder, { recursive: true });
const browser = await launch(values.browser);
console.log(`browser ${browser.version()}`);
const blind = await blindness(browser);
if (blind.length > 0) {
  console.log(`planted.html: nothing was found of: ${blind.join(', ')}`);
  await browser.close();
  process.exit(2);
}
let count = 0;
for (const named of pages) {
  const [title, page] = [named.slice(0, named.indexOf('=')), named.slice(named.indexOf('=') + 1)];
  for (const scheme of SCHEMES) {
    for (const width of WIDTHS) {
      const name = `${title}-${scheme}-${width}`;
      const found = await look(browser, page, { scheme, width, picture: join(folder, name) });
      for (const [kind, text] of found) console.log(`${name}: ${kind}: ${text}`);
      count += found.length;
    }
  }
}
await browser.close();
console.log(`${pages.length} pages, ${pages.length * SCHEMES.length * WIDTHS.length} pictures, ${count} mistakes`);
process.exit(count > 0 ? 1 : 0);

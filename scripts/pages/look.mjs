// Looks at pages as a person would, and takes pictures of them.
//
// Usage: look.mjs [--browser PATH] FOLDER NAME=PAGE...
//
// Each page is opened in light and dark, 1280 and 400 pixels wide; its pictures go to FOLDER, with its
// name. What is wrong is printed, a line each, and the exit code is 1. First planted.html is opened, in which one of
// each kind of mistake was made: a look that does not find them all sees nothing, and exits with 2.

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
const KINDS = ['console', 'script', 'request', 'wide', 'contrast', 'overlap', 'outside', 'small', 'unnamed'];

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

/** Opens a page once; takes a picture if there is a name for it. Says what is wrong. */
async function look(browser, page, { scheme, width, picture }) {
  const context = await browser.newContext({ colorScheme: scheme, viewport: { width, height: HEIGHT } });
  const tab = await context.newPage();
  const found = [];
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
  const limits = { contrastMin: CONTRAST_MIN, textPxMin: TEXT_PX_MIN, overlapPx: OVERLAP_PX };
  found.push(...(await tab.evaluate(layout, limits)));
  if (picture) await tab.screenshot({ path: picture, fullPage: true });
  await context.close();
  return found;
}

/** What none of the looks at the planted mistakes found. */
async function blindness(browser) {
  const planted = join(dirname(fileURLToPath(import.meta.url)), 'planted.html');
  const seen = new Set();
  for (const [kind] of await look(browser, planted, { scheme: 'dark', width: 400 })) seen.add(kind);
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
      const found = await look(browser, page, { scheme, width, picture: join(folder, `${name}.png`) });
      for (const [kind, text] of found) console.log(`${name}: ${kind}: ${text}`);
      count += found.length;
    }
  }
}
await browser.close();
console.log(`${pages.length} pages, ${pages.length * SCHEMES.length * WIDTHS.length} pictures, ${count} mistakes`);
process.exit(count > 0 ? 1 : 0);

// Chromium, driven by lines on the standard input: {"do": NAME, ...} each, answered by a line
// {"result": ...} or {"error": TEXT}. lib/browser.py is the other end; the tests are in Python.
'use strict';

const readline = require('readline');
const { chromium } = require('playwright-core');

const [executablePath, deadlineText, ...args] = process.argv.slice(2);
const timeout = Number(deadlineText);
const pages = new Map();
let browser;

const commands = {
  async open({ url, width, height, scheme, motion }) {
    const context = await browser.newContext({
      viewport: { width, height }, colorScheme: scheme, reducedMotion: motion,
    });
    context.setDefaultTimeout(timeout);
    const page = await context.newPage();
    const id = String(pages.size + 1);
    const seen = { told: [], errors: [], requests: [] };
    page.on('console', (message) => seen.told.push([message.type(), message.text()]));
    page.on('pageerror', (error) => seen.errors.push(String(error.stack)));
    page.on('request', (request) => seen.requests.push(request.url()));
    pages.set(id, { page, context, seen, answers: {} });
    if (url) await page.goto(url);
    return id;
  },

  async go({ page, url }) {
    await pages.get(page).page.goto(url);
  },

  /** From now on the server says this at the path; null: what it says. */
  async answer({ page: id, path, json }) {
    const { page, answers } = pages.get(id);
    if (!(path in answers)) {
      await page.route((url) => url.pathname === path, (route) => (answers[path] === null
        ? route.continue() : route.fulfill({ json: answers[path] })));
    }
    answers[path] = json;
  },

  async evaluate({ page, script }) {
    return pages.get(page).page.evaluate(script);
  },

  async press({ page, key }) {
    await pages.get(page).page.keyboard.press(key);
  },

  async hover({ page, x, y }) {
    await pages.get(page).page.mouse.move(x, y);
  },

  async resize({ page, width, height }) {
    await pages.get(page).page.setViewportSize({ width, height });
  },

  async scheme({ page, scheme }) {
    await pages.get(page).page.emulateMedia({ colorScheme: scheme });
  },

  /** From now on the page's time goes only as fast as it is told to. */
  async stop_clock({ page }) {
    await pages.get(page).page.clock.install();
  },

  async run_clock({ page, ms }) {
    await pages.get(page).page.clock.runFor(ms);
  },

  /** What a screen reader is told: [{role, name, ignored}]. */
  async accessibility({ page: id }) {
    const { page, context } = pages.get(id);
    const session = await context.newCDPSession(page);
    const { nodes } = await session.send('Accessibility.getFullAXTree');
    await session.detach();
    return nodes.filter((node) => !node.ignored).map((node) => ({
      role: node.role?.value, name: node.name?.value ?? '', value: node.value?.value,
    }));
  },

  async screenshot({ page, path }) {
    await pages.get(page).page.screenshot({ path, fullPage: true });
  },

  async seen({ page }) {
    return pages.get(page).seen;
  },

  async close({ page }) {
    await pages.get(page).context.close();
  },
};

async function answer(line) {
  const command = JSON.parse(line);
  try {
    return { result: (await commands[command.do](command)) ?? null };
  } catch (error) {
    return { error: String(error.stack) };
  }
}

(async () => {
  browser = await chromium.launch({ executablePath, args, timeout });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await answer(line))}\n`);
  }
  await browser.close();
})();

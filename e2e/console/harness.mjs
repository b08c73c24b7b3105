// What both scripts share: a browser of its own, axe, and how a fault is told.
import { chromium } from 'playwright-core';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const flags = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage'];

export const url = process.env.STOPGAP_CONSOLE;
export const faults = [];

export async function browser() {
  return chromium.launch({ executablePath: process.env.STOPGAP_CHROMIUM ?? '/usr/bin/chromium', args: flags });
}

// A page whose console stays empty: a script or style that the policy refused is told there.
export async function open(browser, options = {}) {
  const context = await browser.newContext({ baseURL: url, viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20000);
  page.on('console', message => {
    const meant = message.text().includes('status of 404') && page.url().endsWith('/nowhere');
    if (!meant && ['error', 'warning'].includes(message.type())) faults.push(`${page.url()}: ${message.text()}`);
  });
  page.on('pageerror', error => faults.push(`${page.url()}: ${error}`));
  return page;
}

export async function signIn(page, name) {
  await page.goto('/');
  await page.getByLabel('Name').fill(name);
  await page.getByLabel('Password').fill('correct horse battery');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
}

export async function accessible(page, what) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  for (const { id, impact, help, nodes } of violations) {
    const told = `${what}: ${impact}: ${id}: ${help}: ${nodes.map(node => node.html.slice(0, 160)).join(' | ')}`;
    if (impact === 'serious' || impact === 'critical') faults.push(told); else console.log(`minor: ${told}`);
  }
}

export function expect(what, holds) {
  if (!holds) faults.push(what);
}

export async function finish(browser) {
  await browser.close();
  for (const fault of faults) console.log(`FAULT ${fault}`);
  process.exit(faults.length === 0 ? 0 : 1);
}

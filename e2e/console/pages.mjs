// Every page, as a person with a screen reader, a keyboard, a telephone or a dark room meets it.
// With STOPGAP_SCREENSHOTS=FOLDER it also takes the pictures of docs/console.
import { writeFileSync } from 'node:fs';
import { accessible, browser, expect, finish, open, signIn } from './harness.mjs';

const pictures = process.env.STOPGAP_SCREENSHOTS;
const pages = {
  overview: '/', mitigations: '/mitigations', mitigation: '/mitigations/example/M1', servers: '/servers',
  server: '/servers/mail04', approvals: '/approvals', settings: '/settings/groups/mail', organization: '/settings',
  past: `/past?mitigation=example:M3&day=${new Date(Date.now() - 40 * 3600e3).toISOString().slice(0, 10)}`,
  report: '/report', notifications: '/notifications', audit: '/audit', people: '/people', enrollments: '/enrollments',
  'server-settings': '/servers/mail04/settings', nothing: '/servers/nowhere',
};

// A page whole, at its own height; of a telephone what it shows at once. WebP is a quarter of PNG here.
async function picture(page, name, whole = true) {
  if (!pictures) return;
  const { width, height } = page.viewportSize();
  if (whole) await page.setViewportSize({ width, height: 440 });
  const clip = { x: 0, y: 0, width, height: whole ? await page.evaluate(() => document.documentElement.scrollHeight) : height, scale: 1 };
  const session = await page.context().newCDPSession(page);
  const { data } = await session.send('Page.captureScreenshot', { format: 'webp', quality: 85, captureBeyondViewport: true, clip });
  await session.detach();
  writeFileSync(`${pictures}/${name}.webp`, Buffer.from(data, 'base64'));
  await page.setViewportSize({ width, height });
}

const chromium = await browser();
const light = await open(chromium, { colorScheme: 'light' });
await light.goto('/');
await accessible(light, 'sign-in');
await picture(light, 'sign-in');
await signIn(light, 'arno');
const session = await light.context().storageState();
const dark = await open(chromium, { colorScheme: 'dark', storageState: session });
const small = await open(chromium, { viewport: { width: 360, height: 740 }, storageState: session });

for (const [name, path] of Object.entries(pages)) {
  await light.goto(path);
  await accessible(light, name);
  if (name !== 'nothing') await picture(light, name);
  await small.goto(path);
  const wide = await small.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  expect(`${name} is ${wide} wider than a telephone`, wide <= 0);
  if (name === 'mitigation') await picture(small, `${name}-telephone`, false);
}
for (const name of ['overview', 'mitigation', 'settings']) {
  await dark.goto(pages[name]);
  await accessible(dark, `${name}, dark`);
  if (name === 'overview') await picture(dark, `${name}-dark`);
}

// The first key leads past the navigation, and what has the focus is to be seen.
await light.goto('/servers');
await light.keyboard.press('Tab');
expect('the first key goes to the skip link', await light.evaluate(() => document.activeElement.className) === 'skip');
await light.keyboard.press('Enter');
expect('the skip link leads to the content', await light.evaluate(() => location.hash) === '#main');
await finish(chromium);

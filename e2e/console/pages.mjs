// Every page, as a person with a screen reader, a keyboard, a telephone or a dark room meets it.
// With STOPGAP_SCREENSHOTS=FOLDER it also takes the pictures of docs/console.
import { accessible, browser, expect, finish, open, signIn } from './harness.mjs';

const pictures = process.env.STOPGAP_SCREENSHOTS;
const pages = {
  overview: '/', mitigations: '/mitigations', mitigation: '/mitigations/example/M1', servers: '/servers',
  server: '/servers/mail04', approvals: '/approvals', settings: '/settings/groups/mail', organization: '/settings',
  past: `/past?mitigation=example:M3&day=${new Date(Date.now() - 40 * 3600e3).toISOString().slice(0, 10)}`,
  report: '/report', notifications: '/notifications', audit: '/audit', people: '/people', enrollments: '/enrollments',
  'server-settings': '/servers/mail04/settings', nothing: '/servers/nowhere',
};

const chromium = await browser();
const light = await open(chromium, { colorScheme: 'light' });
await light.goto('/');
await accessible(light, 'sign-in');
await signIn(light, 'arno');
const session = await light.context().storageState();
const dark = await open(chromium, { colorScheme: 'dark', storageState: session });
const small = await open(chromium, { viewport: { width: 360, height: 740 }, storageState: session });

for (const [name, path] of Object.entries(pages)) {
  await light.goto(path);
  await accessible(light, name);
  if (pictures && ['overview', 'mitigation', 'server'].includes(name)) {
    await light.screenshot({ path: `${pictures}/${name}.png`, fullPage: true });
  }
  await small.goto(path);
  const wide = await small.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  expect(`${name} is ${wide} wider than a telephone`, wide <= 0);
}
for (const name of ['overview', 'mitigation', 'settings']) {
  await dark.goto(pages[name]);
  await accessible(dark, `${name}, dark`);
  if (pictures && name === 'overview') await dark.screenshot({ path: `${pictures}/${name}-dark.png`, fullPage: true });
}

// The first key leads past the navigation, and what has the focus is to be seen.
await light.goto('/servers');
await light.keyboard.press('Tab');
expect('the first key goes to the skip link', await light.evaluate(() => document.activeElement.className) === 'skip');
await light.keyboard.press('Enter');
expect('the skip link leads to the content', await light.evaluate(() => location.hash) === '#main');
await finish(chromium);

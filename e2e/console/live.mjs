// An operator and a live server: blocked and taken off, let go on, approved by somebody else, found in the log.
// Between the steps the test that started this looks at the server itself: a line is said, and one waited for.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { accessible, browser, expect, finish, open, signIn } from './harness.mjs';

const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const tell = async word => { console.log(word); await input.next(); };

const chromium = await browser();
const olga = await open(chromium);
await signIn(olga, 'olga');
await olga.getByRole('link', { name: 'example:M1' }).last().click();
await olga.getByRole('heading', { name: /In force on 1 server,/ }).waitFor();
await accessible(olga, 'the mitigation in force');

await olga.getByLabel('take it off there as well').check();
const block = olga.getByRole('region', { name: 'Block', exact: true });
await block.getByLabel('Reason').fill('it breaks the fax');
await block.getByRole('button', { name: 'Block' }).click();
await olga.getByText('It is in force on 1 server of organization').waitFor();
await accessible(olga, 'the question');
await olga.getByRole('button', { name: 'Block and take off' }).click();
// No reload from here on: the page keeps itself up to date.
const before = await olga.evaluate(() => performance.timeOrigin);
await olga.getByRole('heading', { name: /In force on 0 servers/ }).waitFor({ timeout: 30000 });
expect('the page was not loaded anew', before === await olga.evaluate(() => performance.timeOrigin));
await accessible(olga, 'the mitigation blocked');
await tell('off');

await olga.getByRole('button', { name: 'Unblock for organization' }).click();
await olga.getByText('No longer blocked').waitFor();
await olga.getByRole('heading', { name: /In force on 1 server,/ }).waitFor({ timeout: 30000 });
await tell('on');

const ask = olga.getByRole('region', { name: 'Ask for approval' });
await ask.getByLabel('Reason').fill('tested in the lab');
await ask.getByRole('button', { name: 'Ask' }).click();
await olga.getByText('Asked for. Somebody else approves it.').waitFor();
await olga.goto('/approvals');
expect('nobody approves their own', await olga.getByRole('button', { name: /Approve/ }).count() === 0);

const arno = await open(chromium);
await signIn(arno, 'arno');
await arno.getByRole('link', { name: 'Approvals' }).click();
await arno.getByRole('button', { name: 'Approve example:M1 for organization' }).click();
await arno.getByText('Nothing waits for approval.').waitFor();
await arno.getByRole('link', { name: 'Audit log' }).click();
const log = await arno.getByRole('table').innerText();
for (const said of ['it breaks the fax', 'tested in the lab', 'approval.approve', 'settings.set']) {
  expect(`the log says ${said}: ${log}`, log.includes(said));
}
const [file] = await Promise.all([
  arno.waitForEvent('download'), arno.getByRole('link', { name: 'CSV' }).click(),
]);
const csv = readFileSync(await file.path(), 'utf8');
expect(`the file has the entry: ${csv}`, csv.startsWith('Number,Time,User,') && csv.includes('it breaks the fax'));
await arno.getByRole('button', { name: 'Sign out' }).click();
await arno.getByRole('heading', { name: 'Sign in' }).waitFor();
await finish(chromium);

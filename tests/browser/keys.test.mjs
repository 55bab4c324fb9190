/* The Encryption keys page, driven through every action with the demo's tenants of all three kinds.
   What it does is checked through the API, with the tenants' own tokens. It leaves every recording
   playable. Not for: the server's own rules. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import {
  axe, call, demo, keysSettled, launch, open, openKeys, PHONE, press, program, screenshot, sidewaysScroll, signIn, withRole,
} from "./driver.mjs";

const MANAGED = "northwind-bank";
const SWITCHING = "meridian-health";
const LKM = "riverside-insurance";
const KMS = "summit-telecom";

let browser;
before(async () => { browser = await launch(); });
after(async () => { await browser?.close(); });

const keysOf = async (tenant) => (await call(tenant, "admin", "GET", `/api/v1/tenants/${tenant}/keys`)).body;
const currentOf = async (tenant) => (await keysOf(tenant)).keys.find((key) => key.state === "current");
const row = (page, id) => page.locator(`[data-testid=key][data-id="${id}"]`);
const dialog = (page) => page.locator("dialog[open]");
const confirm = (page) => page.locator("dialog[open] [data-testid=confirm]");
const done = (page) => page.waitForSelector("dialog", { state: "detached" });
const focused = (page, testid) => page.waitForFunction((id) => document.activeElement.dataset.testid === id, testid);
const toast = (page) => page.textContent("[data-testid=toast]");

/* What a listener gets for the first bytes of a tenant's recording. */
async function listen(tenant, id) {
  const grant = await call(tenant, "agent", "POST", `/api/v1/recordings/${id}/playback`);
  if (grant.status !== 201) return grant.status;
  const media = await fetch(new URL(grant.body.mediaUri, demo().url), {
    headers: { range: "bytes=0-99", authorization: `Bearer ${demo().tenants.find((each) => each.id === tenant).agent_token}` },
  });
  await media.arrayBuffer();
  return media.status;
}
const recordingsOf = async (tenant) => (await call(tenant, "admin", "GET", "/api/v1/recordings?limit=200")).body.entities;

async function session(tenant, options) {
  const opened = await open(browser, options);
  opened.page.setDefaultTimeout(15_000);
  await signIn(opened.page);
  if (tenant) await openKeys(opened.page, tenant);
  return opened;
}

/* Every action that all kinds of tenants have, from a tenant with an older key to the older key's end. */
function wholeLife(tenant, name, older) {
  let context, page, faults;
  before(async () => { ({ context, page, faults } = await session(tenant)); });
  after(async () => {
    assert.deepEqual(faults, []);
    await context.close();
  });

  test(`${name}: what needs the older key is said, and what is under which key`, async () => {
    const { keys } = await keysOf(tenant);
    const rows = await page.$$eval("[data-testid=key]", (all) => all.map((each) => ({ ...each.dataset })));
    assert.deepEqual(rows.map(({ id, state }) => [id, state]), keys.map(({ id, state }) => [id, state]));
    for (const key of keys) {
      assert.equal(Number((await row(page, key.id).locator("[data-testid=key-recordings]").textContent()).replace(/\D/g, "")), key.recordings);
    }
    assert.match(await page.textContent("[data-testid=part-rewrap]"), /earlier key/);
    await screenshot(page, `keys-${tenant}`);
  });

  test(`${name}: the older key disabled opens nothing; enabled it opens again`, async () => {
    const [recording] = await recordingsOf(tenant);
    await row(page, older()).locator("[data-testid=disable-key]").click();
    assert.match(await dialog(page).textContent(), /cannot be played/);
    await screenshot(page, `keys-${tenant}-disable`);
    await confirm(page).click();
    await done(page);
    await page.waitForSelector(`[data-testid=key][data-id="${older()}"][data-state=disabled]`);
    assert.equal(await listen(tenant, recording.id), 403);
    await row(page, older()).locator("[data-testid=enable-key]").click();
    assert.match(await dialog(page).textContent(), /played again/);
    await confirm(page).click();
    await done(page);
    await page.waitForSelector(`[data-testid=key][data-id="${older()}"][data-state=previous]`);
    assert.equal(await listen(tenant, recording.id), 206);
  });

  test(`${name}: retiring a key that is needed takes the loss, typed; a count that changed is refused in the server's words`, async () => {
    const { recordings } = (await keysOf(tenant)).keys.find((key) => key.id === older());
    assert.ok(recordings > 0);
    // As if one more recording had been under it when the page was fetched.
    await page.route(`**/api/v1/tenants/${tenant}/keys`, async (route) => {
      const response = await route.fetch();
      const keys = await response.json();
      for (const key of keys.keys) if (key.id === older()) key.recordings += 1;
      return route.fulfill({ response, json: keys });
    }, { times: 1 });
    await openKeys(page, tenant);
    await row(page, older()).locator("[data-testid=retire-key]").click();
    assert.match(await dialog(page).textContent(), /never be played again/);
    assert.ok(await confirm(page).isDisabled());
    await focused(page, "phrase");
    await page.fill("[data-testid=phrase]", `lose ${recordings} recordings`);
    assert.ok(await confirm(page).isDisabled(), "another number is not the loss that is shown");
    await page.fill("[data-testid=phrase]", `lose ${recordings + 1} recordings`);
    await screenshot(page, `keys-${tenant}-retire`);
    await confirm(page).click();
    const refusal = page.locator("dialog[open] [data-testid=problem]");
    await refusal.waitFor();
    assert.equal(await refusal.getAttribute("data-code"), "key-in-use");
    assert.match(await refusal.textContent(), new RegExp(`\\b${recordings} recordings`));
    assert.match(await dialog(page).locator(".phrase").textContent(), new RegExp(`^lose ${recordings} recordings$`));
    assert.ok(await confirm(page).isDisabled(), "the new number has to be typed");
    await press(page, "Escape");
    await done(page);
    assert.equal((await keysOf(tenant)).keys.find((key) => key.id === older()).state, "previous");
  });

  test(`${name}: re-wrapped to the end, all recordings are under the current key and play`, async () => {
    const recordings = await recordingsOf(tenant);
    await page.click("[data-testid=start-rewrap]");
    await page.fill("[data-testid=per-second]", "0");
    await confirm(page).click();
    assert.match(await dialog(page).locator("[role=alert]").textContent(), /whole number/);
    await page.fill("[data-testid=per-second]", "20");
    await confirm(page).click();
    await done(page);
    await page.waitForSelector("[data-testid=rewrap][data-state=done]", { timeout: 30_000 });
    await page.waitForFunction((id) => document.querySelector(`[data-testid=key][data-id="${id}"] [data-testid=key-recordings]`).textContent === "0", older());
    await screenshot(page, `keys-${tenant}-rewrapped`);
    const { keys } = await keysOf(tenant);
    assert.equal(keys.find((key) => key.state === "current").recordings, recordings.length);
    for (const { id } of recordings) assert.equal(await listen(tenant, id), 206, id);
  });

  test(`${name}: at zero the older key is retired without more ado, and the library plays on`, async () => {
    await row(page, older()).locator("[data-testid=retire-key]").click();
    assert.equal(await page.locator("[data-testid=phrase]").count(), 0);
    assert.match(await dialog(page).textContent(), /Can it be undone\?\s*No/);
    await confirm(page).click();
    await done(page);
    await page.waitForSelector(`[data-testid=key][data-id="${older()}"][data-state=retired]`);
    assert.equal(await row(page, older()).locator("button").count(), 0, "nothing is left to be done with it");
    for (const { id } of await recordingsOf(tenant)) assert.equal(await listen(tenant, id), 206, id);
  });

  test(`${name}: key caches are emptied`, async () => {
    await page.click("[data-testid=purge]");
    assert.match(await dialog(page).textContent(), /cut at its next chunk/);
    await confirm(page).click();
    await done(page);
    assert.match(await toast(page), /caches are empty/);
  });
}

/* Rotate, schedule and change policy: where the provider makes key pairs. Notes the older key. */
function minting(tenant, name, note) {
  let context, page, faults;
  before(async () => { ({ context, page, faults } = await session(tenant)); });
  after(async () => {
    assert.deepEqual(faults, []);
    await context.close();
  });

  test(`${name}: what protects new recordings is said plainly`, async () => {
    const { keys, policy } = await keysOf(tenant);
    const now = await page.textContent("[data-testid=part-now]");
    assert.match(now, new RegExp(name));
    assert.match(now, new RegExp(keys[0].id));
    assert.match(now, new RegExp(`${keys[0].strengthBits} bits`));
    assert.match(await page.textContent("[data-testid=policy]"), policy === "aes256" ? /AES-256/ : /Compatible/);
  });

  test(`${name}: rotated by hand, the new key is current and older recordings play`, async () => {
    const before = await currentOf(tenant);
    note(before.id);
    await page.click("[data-testid=rotate]");
    assert.match(await dialog(page).textContent(), /Goes on\. Older recordings keep opening/);
    await screenshot(page, `keys-${tenant}-rotate`);
    await confirm(page).click();
    await done(page);
    const now = await currentOf(tenant);
    assert.notEqual(now.id, before.id);
    await page.waitForSelector(`[data-testid=key][data-id="${now.id}"][data-state=current]`);
    await page.waitForSelector(`[data-testid=key][data-id="${before.id}"][data-state=previous]`);
    assert.match(await toast(page), new RegExp(now.id));
    const [recording] = await recordingsOf(tenant);
    assert.equal(await listen(tenant, recording.id), 206);
  });

  test(`${name}: a schedule is set, shown, and taken back`, async () => {
    await page.selectOption("[data-testid=period]", "WEEKLY");
    await page.click("[data-testid=save-schedule]");
    await page.waitForSelector("[data-testid=next-rotation] time");
    const schedule = () => call(tenant, "admin", "GET", `/api/v2/recording/recordingkeys/rotationschedule?tenant=${tenant}`);
    const { body } = await schedule();
    assert.equal(body.period, "WEEKLY");
    assert.equal(await page.getAttribute("[data-testid=next-rotation] time", "datetime"), body.nextRotation);
    await page.reload();
    await keysSettled(page);
    assert.equal(await page.inputValue("[data-testid=period]"), "WEEKLY");
    await page.selectOption("[data-testid=period]", "DISABLED");
    await page.click("[data-testid=save-schedule]");
    await page.waitForFunction(() => /not planned/.test(document.querySelector("[data-testid=next-rotation]").textContent));
    assert.equal((await schedule()).body.period, "DISABLED");
  });

  test(`${name}: a scheduled rotation that failed is told`, async () => {
    await page.route("**/rotationschedule?*", (route) => route.fulfill({ json: {
      period: "DAILY", nextRotation: "2099-01-02T03:04:05Z", lastRotation: null, lastError: "The KMS key is disabled (aws-kms.disabled).", selfUri: "",
    } }), { times: 1 });
    await openKeys(page, tenant);
    assert.match(await page.textContent("[data-testid=schedule-error]"), /KMS key is disabled/);
    await openKeys(page, tenant);
  });
}

/* There and back: each time with a new key of that strength. */
function policies(tenant, name, there, back) {
  test(`${name}: the policy is changed and changed back, each time with a new key of that strength`, async () => {
    const { context, page, faults } = await session(tenant);
    for (const [policy, bits] of [there, back]) {
      const before = await currentOf(tenant);
      await page.click("[data-testid=change-policy]");
      await confirm(page).click();
      assert.match(await dialog(page).locator("[role=alert]").textContent(), /already/);
      await page.check(`dialog[open] input[value=${policy}]`);
      await screenshot(page, `keys-${tenant}-policy-${policy}`);
      await confirm(page).click();
      await done(page);
      const now = await currentOf(tenant);
      assert.notEqual(now.id, before.id);
      assert.equal(now.strengthBits, bits);
      assert.equal((await keysOf(tenant)).policy, policy);
      await page.waitForFunction((words) => document.querySelector("[data-testid=part-now]").textContent.includes(words), `${bits} bits`);
    }
    for (const { id } of await recordingsOf(tenant)) assert.equal(await listen(tenant, id), 206, id);
    assert.deepEqual(faults, []);
    await context.close();
  });
}

describe("keys that Keyreel keeps", () => {
  let older;
  describe("made anew", () => minting(MANAGED, "Managed by Keyreel", (id) => { older = id; }));
  describe("the older one", () => wholeLife(MANAGED, "Managed by Keyreel", () => older));
  policies(MANAGED, "Managed by Keyreel", ["compatible", 128], ["aes256", 256]);

  test("another provider is the next key: AWS KMS and back", async () => {
    const { context, page, faults } = await session(SWITCHING);
    const recordings = await recordingsOf(SWITCHING);
    const { kms } = demo().services;
    await page.click("[data-testid=add-configuration]");
    await page.check("dialog[open] input[value=aws-kms]");
    await page.click("[data-testid=save]");
    assert.match(await dialog(page).locator(".fault").first().textContent(), /is needed/);
    await page.waitForFunction(() => document.activeElement.dataset.field === "keyArn");
    await page.fill("[data-field=keyArn]", "arn:aws:kms:nowhere");
    await page.click("[data-testid=test]");
    assert.match(await dialog(page).locator(".fault").first().textContent(), /form/);
    await page.fill("[data-field=keyArn]", kms.alias_arn);
    await page.fill("[data-field=endpoint]", kms.url);
    await page.click("[data-testid=test]");
    await page.waitForSelector("[data-testid=tried]");
    assert.match(await page.textContent("[data-testid=warnings]"), /http/);
    assert.equal((await keysOf(SWITCHING)).provider, "managed", "a test saves nothing");
    await screenshot(page, "keys-configure-aws-kms");
    await page.click("[data-testid=save]");
    await page.waitForSelector("[data-testid=saved]");
    await page.click("dialog[open] [data-testid=saved] [type=submit]");
    await done(page);
    assert.equal((await currentOf(SWITCHING)).provider, "aws-kms");
    await page.waitForFunction(() => /AWS KMS/.test(document.querySelector("[data-testid=now]").textContent));
    await page.click("[data-testid=add-configuration]");
    await page.check("dialog[open] input[value=managed]");
    assert.match(await dialog(page).textContent(), /nothing to set/);
    await page.click("[data-testid=save]");
    await page.waitForSelector("[data-testid=saved]");
    await press(page, "Escape");
    await done(page);
    assert.equal((await currentOf(SWITCHING)).provider, "managed");
    for (const { id } of recordings) assert.equal(await listen(SWITCHING, id), 206, id);
    assert.deepEqual(faults, []);
    await context.close();
  });
});

describe("keys under AWS KMS", () => {
  let older;
  describe("made anew", () => minting(KMS, "AWS KMS", (id) => { older = id; }));
  describe("the older one", () => wholeLife(KMS, "AWS KMS", () => older));
  policies(KMS, "AWS KMS", ["aes256", 256], ["compatible", 128]);

  test("its settings are tried and refused in the server's words; saved, they make the next key", async () => {
    const { context, page, faults } = await session(KMS);
    assert.match(await page.textContent("[data-testid=health]"), /Answers/);
    const before = await currentOf(KMS);
    await page.click("[data-testid=change-configuration]");
    const { kms } = demo().services;
    assert.equal(await page.inputValue("[data-field=keyArn]"), kms.alias_arn);
    assert.equal(await page.inputValue("[data-field=minting]"), "data-key-pair");
    await page.fill("[data-field=keyArn]", kms.alias_arn.replace("keyreel-demo", "no-such-key"));
    await page.click("[data-testid=test]");
    const problem = page.locator("dialog[open] [data-testid=problem]");
    await problem.waitFor();
    assert.match(await problem.textContent(), /NotFoundException.*Nothing was changed/);
    await screenshot(page, "keys-configure-refused");
    await page.fill("[data-field=keyArn]", kms.alias_arn);
    await page.click("[data-testid=save]");
    await page.waitForSelector("[data-testid=saved]");
    await press(page, "Escape");
    await done(page);
    assert.notEqual((await currentOf(KMS)).id, before.id);
    assert.deepEqual(faults, []);
    await context.close();
  });
});

describe("keys of a Local Key Manager", () => {
  let older;
  let context, page, faults;
  before(async () => { ({ context, page, faults } = await session(LKM)); });
  after(async () => {
    assert.deepEqual(faults, []);
    await context?.close();
  });

  test("there is nothing to rotate here, and no schedule: key pairs are registered", async () => {
    assert.equal(await page.locator("[data-testid=rotate], [data-testid=period], [data-testid=change-policy]").count(), 0);
    assert.match(await page.textContent("[data-testid=part-schedule]"), /register/);
    assert.match(await page.textContent("[data-testid=health]"), /Answers/);
  });

  test("a key pair is registered after it was tried; a private key is not even sent", async () => {
    const before = await currentOf(LKM);
    older = before.id;
    const pair = program("lkm", "rotate", "--data", demo().services.lkm.data);
    const sent = [];
    page.on("request", (request) => { if (request.method() === "POST") sent.push(request.postData() ?? ""); });
    await page.click("[data-testid=register]");
    await focused(page, "keypair-id");
    await page.fill("[data-testid=keypair-id]", pair.keypairId);
    await page.fill("[data-testid=public-key]", "-----BEGIN PRIVATE KEY-----\nMIIsecret\n-----END PRIVATE KEY-----");
    await confirm(page).click();
    assert.match(await dialog(page).locator("[role=alert]").textContent(), /private key/);
    assert.equal(await page.inputValue("[data-testid=public-key]"), "");
    assert.deepEqual(sent, []);
    // The public key of the pair before under the new one's id: the trial finds out.
    const other = (await call(LKM, "admin", "GET", "/api/v2/recording/recordingkeys")).body.entities.find((key) => key.id === before.id);
    await page.fill("[data-testid=public-key]", other.keydataSummary);
    await confirm(page).click();
    await page.locator("dialog[open] [data-testid=problem][data-code=bad-request]").waitFor();
    await screenshot(page, "keys-register-refused");
    await page.fill("[data-testid=public-key]", pair.publicKey);
    await confirm(page).click();
    await done(page);
    assert.equal((await currentOf(LKM)).id, pair.keypairId);
    await page.waitForSelector(`[data-testid=key][data-id="${pair.keypairId}"][data-state=current]`);
  });

  test("its secret is write-only: kept unless entered, and asked for where nothing is saved", async () => {
    const made = program("lkm", "credential", "add", "--data", demo().services.lkm.data);
    await page.click("[data-testid=change-configuration]");
    assert.equal(await page.inputValue("[data-secret=api-key]"), "");
    await page.click("[data-testid=test]");
    assert.match(await dialog(page).locator(".fault").textContent(), /again/);
    await page.fill("[data-field=apiId]", made.apiId);
    await page.fill("[data-secret=api-key]", "not the key");
    await page.click("[data-testid=test]");
    await page.locator("dialog[open] [data-testid=problem]").waitFor();
    await page.fill("[data-secret=api-key]", made.apiKey);
    await page.click("[data-testid=test]");
    await page.waitForSelector("[data-testid=tried]");
    await screenshot(page, "keys-configure-lkm");
    await page.click("[data-testid=save]");
    await page.waitForSelector("[data-testid=saved]");
    await press(page, "Escape");
    await done(page);
    await page.click("[data-testid=change-configuration]");
    assert.equal(await page.inputValue("[data-field=apiId]"), made.apiId);
    await page.click("[data-testid=save]");
    await page.waitForSelector("[data-testid=saved]");
    await press(page, "Escape");
    await done(page);
    assert.ok(!(await page.content()).includes(made.apiKey));
  });

  test("a new key service changes nothing by itself, and leads to registering a key pair of it", async () => {
    const before = await currentOf(LKM);
    const made = program("lkm", "credential", "add", "--data", demo().services.lkm.data);
    await page.click("[data-testid=add-configuration]");
    await page.check("dialog[open] input[value=lkm]");
    await page.fill("[data-field=url]", demo().services.lkm.decrypt_url);
    await page.fill("[data-field=apiId]", made.apiId);
    await page.selectOption("[data-field=padding]", "oaep-sha256");
    await page.fill("[data-secret=api-key]", made.apiKey);
    await page.click("[data-testid=save]");
    await page.click("[data-testid=register-next]");
    await page.waitForSelector("[data-testid=keypair-id]");
    assert.equal(await page.locator("dialog").count(), 1);
    assert.equal((await currentOf(LKM)).id, before.id);
    await press(page, "Escape");
    await done(page);
    await page.waitForFunction(() => document.querySelectorAll("[data-testid=configuration]").length === 2);
  });

  describe("the older pair", () => wholeLife(LKM, "Local Key Manager", () => older));
});

describe("a re-wrap, watched", () => {
  test("progress, stop, go on, and what could not be moved", async () => {
    const { context, page, faults } = await session();
    const status = (change) => ({
      state: "running", total: 1000, done: 0, failed: 0, perSecond: 50, startedAt: "2026-11-22T10:00:00Z",
      updatedAt: "2026-11-22T10:00:00Z", endedAt: null, lastError: null, failures: [], ...change,
    });
    let now = status({});
    const asked = [];
    // Until it is stopped it does not come further than half way, however long the looking takes.
    let most = 500;
    await page.route("**/api/v1/tenants/*/keys/rewrap", (route) => {
      const method = route.request().method();
      asked.push(method);
      if (method === "DELETE") now = status({ ...now, state: "stopped", endedAt: "2026-11-22T10:01:00Z" });
      else if (method === "POST") [now, most] = [status({ ...now, state: "running", endedAt: null }), 1000];
      else if (now.state === "running") now = status({ ...now, done: Math.min(now.done + 250, most), lastError: now.done >= 500 ? "The key service is busy." : null });
      if (now.state === "running" && now.done >= 750) {
        now = status({ ...now, state: "failed", done: 998, failed: 2, lastError: null, endedAt: "2026-11-22T10:02:00Z", failures: [
          { recording: "00000000-0000-4000-8000-000000000001", reason: "The sealed file is damaged." },
          { recording: "00000000-0000-4000-8000-000000000002", reason: "The key is disabled." },
        ] });
      }
      return route.fulfill({ json: now });
    });
    await openKeys(page, MANAGED);
    await page.waitForFunction(() => /500/.test(document.querySelector("[data-testid=rewrap-words]").textContent));
    assert.equal(await page.evaluate(() => document.querySelector("progress").value), 500);
    assert.match(await page.textContent("[data-testid=rewrap]"), /left/);
    await screenshot(page, "keys-rewrap-running");
    await page.click("[data-testid=stop-rewrap]");
    await page.waitForSelector("[data-testid=rewrap][data-state=stopped]");
    const before = asked.length;
    await page.waitForTimeout(2500);
    assert.equal(asked.length, before, "what is stopped is not looked at");
    await page.click("[data-testid=start-rewrap]");
    await confirm(page).click();
    await done(page);
    await page.waitForSelector("[data-testid=rewrap][data-state=failed]");
    await page.click("[data-testid=rewrap-failures] summary");
    assert.match(await page.textContent("[data-testid=rewrap-failures]"), /2 recordings could not be re-wrapped.*damaged.*disabled/s);
    await screenshot(page, "keys-rewrap-failures");
    assert.ok(await page.isVisible("[data-testid=start-rewrap]"));
    assert.deepEqual(faults, []);
    await context.close();
  });
});

describe("the recovery key", () => {
  test("set from its public half, shown with what lacks it, and removed; a private half is not sent", async () => {
    const folder = mkdtempSync(join(tmpdir(), "keyreel-recovery-"));
    const made = program("recovery", "new", "--algorithm", "mlkem1024-p384", "--out", folder);
    const half = (name) => readFileSync(made[name], "utf8");
    const { context, page, faults } = await session(SWITCHING);
    const words = page.locator("[data-testid=recovery-words]");
    const sent = [];
    page.on("request", (request) => { if (request.method() === "PUT") sent.push(request.postData()); });
    assert.match(await words.textContent(), /There is none/);

    await page.click("[data-testid=set-recovery]");
    assert.match(await dialog(page).textContent(), /backups included/);
    await page.fill("[data-testid=recovery-public-key]", half("privateKey"));
    await confirm(page).click();
    assert.match(await dialog(page).locator(".form-problem").textContent(), /was not sent/);
    assert.equal(await page.inputValue("[data-testid=recovery-public-key]"), "");
    assert.deepEqual(sent, []);
    await page.fill("[data-testid=recovery-public-key]", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----");
    await confirm(page).click();
    assert.match(await dialog(page).locator("[data-testid=problem]").textContent(), /RSA public key/);
    await page.fill("[data-testid=recovery-public-key]", half("publicKey"));
    await screenshot(page, "keys-recovery-set");
    await confirm(page).click();
    await done(page);
    assert.match(await toast(page), new RegExp(made.id));
    assert.equal(await page.textContent("[data-testid=recovery-id]"), made.id);
    const { recordings } = (await call(SWITCHING, "admin", "GET", `/api/v1/tenants/${SWITCHING}/keys/recovery`)).body;
    assert.match(await words.textContent(), new RegExp(`^${recordings} recordings of ${recordings} lack it`));
    assert.match(await page.textContent("[data-testid=part-rewrap]"), /change of the recovery key/);
    assert.deepEqual(await axe(page), []);
    await screenshot(page, "keys-recovery");

    await page.click("[data-testid=remove-recovery]");
    assert.match(await dialog(page).textContent(), /until they are re-wrapped/);
    await confirm(page).click();
    await done(page);
    assert.match(await words.textContent(), /There is none/);
    assert.equal((await call(SWITCHING, "admin", "GET", `/api/v1/tenants/${SWITCHING}/keys/recovery`)).body.key, null);
    assert.deepEqual(faults, []);
    await context.close();
    rmSync(folder, { recursive: true });
  });
});

describe("who may", () => {
  test("agents and supervisors see neither the link nor the page, and nothing is asked for them", async () => {
    for (const [role, links] of [["agent", ["Recordings"]], ["supervisor", ["Recordings", "Audit"]], ["admin", ["Recordings", "Encryption keys", "Audit"]]]) {
      const { context, page } = await open(browser);
      await signIn(page);
      await withRole(page, role);
      const asked = [];
      page.on("request", (request) => { if (/keys|audit/.test(new URL(request.url()).pathname) && /^\/api/.test(new URL(request.url()).pathname)) asked.push(request.url()); });
      await page.goto(new URL("/", demo().url).href);
      await page.waitForSelector("[data-testid=row]");
      assert.deepEqual(await page.$$eval(".top-nav a", (all) => all.map((each) => each.textContent)), links);
      await page.goto(new URL("/admin/encryption-keys", demo().url).href);
      if (role === "admin") await page.waitForSelector("[data-testid=now]");
      else {
        await page.waitForSelector("[data-testid=not-for-you]");
        assert.deepEqual(asked, []);
      }
      await context.close();
    }
  });

  test("another organisation's address shows nothing of it", async () => {
    const { context, page } = await open(browser);
    await signIn(page);
    await page.goto(new URL("/admin/encryption-keys?tenant=somebody-else", demo().url).href);
    await page.waitForSelector("[data-testid=not-for-you]");
    await context.close();
  });

  test("an agent's token calls none of the routes; another tenant's administrator finds nothing", async () => {
    const under = `/api/v1/tenants/${MANAGED}/keys`;
    const v2 = "/api/v2/recording";
    const name = { provider: "managed", id: "kek/1" };
    const routes = [
      ["GET", under], ["GET", `${under}/providers`], ["GET", `${under}/rewrap`], ["POST", `${under}/rewrap`, {}], ["DELETE", `${under}/rewrap`],
      ["POST", `${under}/policy`, { policy: "aes256" }], ["POST", `${under}/retire`, name], ["POST", `${under}/purge`],
      ["POST", `${under}/disable`, name], ["POST", `${under}/enable`, name],
      ["GET", `${under}/recovery`], ["PUT", `${under}/recovery`, { publicKey: "x" }], ["DELETE", `${under}/recovery`],
      ["GET", `${v2}/keyconfigurations`], ["POST", `${v2}/keyconfigurations`, { keyConfigurationType: "Native" }],
      ["POST", `${v2}/keyconfigurations/validate`, { keyConfigurationType: "Native" }], ["GET", `${v2}/keyconfigurations/x`],
      ["PUT", `${v2}/keyconfigurations/x`, { keyConfigurationType: "Native" }], ["GET", `${v2}/recordingkeys`], ["POST", `${v2}/recordingkeys`, {}],
      ["GET", `${v2}/recordingkeys/rotationschedule`], ["PUT", `${v2}/recordingkeys/rotationschedule`, { period: "DAILY" }],
      ["POST", `${v2}/localkeys`, { configId: "x", keypairId: "x", publicKey: "x" }], ["GET", "/api/v1/audit"], ["GET", "/api/v1/audit/export"],
    ];
    for (const [method, path, body] of routes) {
      const { status, body: problem } = await call(MANAGED, "agent", method, path, body);
      assert.equal(status, 403, `${method} ${path}`);
      assert.equal(problem.code, "denied", `${method} ${path}`);
      if (!path.startsWith(under)) continue;
      assert.equal((await call(LKM, "admin", method, path, body)).status, 404, `${method} ${path} of another tenant`);
    }
  });
});

describe("for everybody", () => {
  test("a dialog holds the focus, gives it back, and Escape closes it", async () => {
    const { context, page } = await session(MANAGED);
    await page.focus("[data-testid=rotate]");
    await press(page, "Enter");
    await page.waitForSelector("dialog[open]");
    for (let at = 0; at < 12; at += 1) {
      await press(page, "Tab");
      assert.ok(await page.evaluate(() => document.activeElement === document.body || document.querySelector("dialog").contains(document.activeElement)));
    }
    await press(page, "Escape");
    await done(page);
    await focused(page, "rotate");
    await context.close();
  });

  test("a part that cannot be fetched says why and hides no other; trying again works", async () => {
    const { context, page } = await session();
    await page.route(`**/api/v1/tenants/${KMS}/keys/rewrap`, (route) => route.fulfill({
      status: 503, contentType: "application/problem+json", body: JSON.stringify({ code: "unavailable", status: 503, detail: "The catalogue does not answer.", requestId: "r-9" }),
    }), { times: 1 });
    await openKeys(page, KMS);
    const part = page.locator("[data-testid=part-rewrap]");
    assert.match(await part.textContent(), /catalogue does not answer.*r-9/);
    await part.getByRole("button", { name: "Try again" }).click();
    await part.locator("[data-testid=problem]").waitFor({ state: "detached" });
    await context.close();
  });

  test("nothing moves while the parts come in", async () => {
    const { context, page } = await session();
    await page.route("**/api/v*/**/*key*", async (route) => {
      await new Promise((done) => setTimeout(done, 150 + Math.random() * 500));
      await route.continue();
    });
    for (const tenant of [MANAGED, LKM, KMS]) {
      await page.addInitScript(() => {
        window.shifts = 0;
        new PerformanceObserver((list) => {
          for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts += entry.value;
        }).observe({ type: "layout-shift", buffered: true });
      });
      await openKeys(page, tenant);
      const shifts = await page.evaluate(() => window.shifts);
      assert.ok(shifts < 0.02, `${tenant}: ${shifts}`);
    }
    await context.close();
  });

  for (const scheme of ["light", "dark"]) {
    for (const [device, options] of [["laptop", {}], ["phone", PHONE]]) {
      test(`axe finds nothing, ${scheme}, ${device}; nothing scrolls sideways`, async () => {
        const { context, page, faults } = await session(undefined, { ...options, colorScheme: scheme, reducedMotion: "reduce" });
        const found = {};
        const look = async (name) => {
          await page.waitForTimeout(200);
          const violations = await axe(page);
          if (violations.length > 0) found[name] = violations;
          assert.ok(await sidewaysScroll(page) <= 0, `${name} scrolls sideways`);
          await screenshot(page, `${name}-${scheme}-${device}`);
        };
        for (const tenant of [MANAGED, LKM, KMS]) {
          await openKeys(page, tenant);
          await look(`keys-${tenant}`);
        }
        for (const [button, name] of [["rotate", "rotate"], ["change-policy", "policy"], ["purge", "purge"], ["disable-key", "disable"], ["change-configuration", "configure"]]) {
          await page.locator(`[data-testid=${button}]`).first().click();
          await page.waitForSelector("dialog[open]");
          await look(`keys-dialog-${name}`);
          await press(page, "Escape");
          await done(page);
        }
        await page.click("[data-testid=add-configuration]");
        await page.check("dialog[open] input[value=lkm]");
        await page.click("[data-testid=save]");
        await look("keys-dialog-new");
        await press(page, "Escape");
        if (device === "phone") {
          await page.click(".account");
          assert.ok(await page.isVisible(".account-nav a[href='/admin/audit']"));
          await look("keys-menu");
        }
        assert.deepEqual(found, {});
        assert.deepEqual(faults, []);
        await context.close();
      });
    }
  }
});

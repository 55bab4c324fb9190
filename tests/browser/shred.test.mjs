/* Destroying for good, driven on the Encryption keys page for tenants of all three kinds. Runs last:
   what it destroys does not come back. Not for: proving that it is gone (tests/e2e/shred.rs). */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { axe, call, demo, launch, open, openKeys, PHONE, press, screenshot, sidewaysScroll, signIn } from "./driver.mjs";

const TENANTS = [
  { id: "northwind-bank", kind: "managed keys" },
  { id: "riverside-insurance", kind: "a Local Key Manager" },
  { id: "summit-telecom", kind: "AWS KMS" },
];

let browser;
before(async () => { browser = await launch(); });
after(async () => { await browser?.close(); });

const confirm = (page) => page.locator("dialog[open] [data-testid=confirm]");
const dialog = (page) => page.locator("dialog[open]");
/* Of a tenant whose root is gone not even a list is left. */
const recordingsOf = async (tenant) => {
  const { status, body } = await call(tenant, "admin", "GET", "/api/v1/recordings?limit=200");
  return status === 410 ? [] : body.entities;
};
const grant = async (tenant, id) => (await call(tenant, "agent", "POST", `/api/v1/recordings/${id}/playback`)).status;
const newest = (page, state) => page.waitForSelector(`[data-testid=destruction][data-state=${state}]`, { timeout: 30_000 });

async function session(tenant, options) {
  const opened = await open(browser, options);
  opened.page.setDefaultTimeout(15_000);
  await signIn(opened.page);
  await openKeys(opened.page, tenant);
  return opened;
}

/* Types what the dialog asks for, and says why. */
async function mean(page, reason) {
  await page.fill("[data-testid=reason]", reason);
  await page.fill("[data-testid=phrase]", await dialog(page).locator(".phrase").textContent());
}

async function certificateOf(page, tenant) {
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator("[data-testid=certificate]").first().click()]);
  assert.match(download.suggestedFilename(), /^certificate-of-destruction-.*\.json$/);
  const chunks = [];
  for await (const chunk of await download.createReadStream()) chunks.push(chunk);
  const envelope = JSON.parse(Buffer.concat(chunks).toString());
  const says = JSON.parse(Buffer.from(envelope.payload, "base64").toString());
  assert.equal(says.tenant, tenant);
  return says;
}

describe("one recording", () => {
  const tenant = TENANTS[0].id;
  let context, page, faults;
  before(async () => { ({ context, page, faults } = await session(tenant)); });
  after(async () => {
    assert.deepEqual(faults, []);
    await context.close();
  });

  test("it is named, what is lost is typed, and nothing happens before", async () => {
    const [{ id }] = await recordingsOf(tenant);
    await page.click("[data-testid=destroy-recordings]");
    assert.ok(await page.locator("[data-testid=next]").isDisabled());
    await page.fill("[data-testid=recording-ids]", "no-such-recording");
    await page.click("[data-testid=next]");
    await page.waitForSelector("dialog[open] [data-testid=problem]");
    assert.match(await dialog(page).textContent(), /no recording no-such-recording/i);
    await press(page, "Escape");
    await page.waitForSelector("dialog", { state: "detached" });
    await page.click("[data-testid=destroy-recordings]");
    await page.fill("[data-testid=recording-ids]", id);
    await page.click("[data-testid=next]");
    await page.waitForSelector("[data-testid=phrase]");
    assert.ok(await confirm(page).isDisabled());
    await page.fill("[data-testid=phrase]", "destroy 1 recordings");
    await confirm(page).click();
    assert.match(await dialog(page).locator("[role=alert]").textContent(), /Say why/);
    await screenshot(page, "destroy-recording");
    assert.equal(await grant(tenant, id), 201);
    await press(page, "Escape");
  });

  test("it is destroyed, the others play, and the certificate says so", async () => {
    await openKeys(page, tenant);
    const [first, ...others] = await recordingsOf(tenant);
    await page.click("[data-testid=destroy-recordings]");
    await page.fill("[data-testid=recording-ids]", first.id);
    await page.click("[data-testid=next]");
    await page.waitForSelector("[data-testid=phrase]");
    await mean(page, "erasure asked for by the caller");
    await confirm(page).click();
    await newest(page, "done");
    assert.equal(await grant(tenant, first.id), 404);
    for (const { id } of others) assert.equal(await grant(tenant, id), 201, id);
    const says = await certificateOf(page, tenant);
    assert.deepEqual([says.recordings, says.scope.ids], [1, [first.id]]);
    await screenshot(page, "destroy-recording-done");
  });
});

describe("a key, as at the end of a retention period", () => {
  test("its recordings go with it, those under the current key stay", async () => {
    const tenant = TENANTS[0].id;
    const { context, page, faults } = await session(tenant);
    // As calendars do it: a new key, and the former one holds what was taken in before.
    assert.equal((await call(tenant, "admin", "POST", `/api/v2/recording/recordingkeys?tenant=${tenant}`, {})).status, 200);
    const { keys } = (await call(tenant, "admin", "GET", `/api/v1/tenants/${tenant}/keys`)).body;
    const former = keys.find((key) => key.state === "previous" && key.recordings > 0);
    await openKeys(page, tenant);
    await page.locator(`[data-testid=key][data-id="${former.id}"] [data-testid=destroy-key]`).click();
    await page.waitForSelector("[data-testid=phrase]");
    assert.equal(await dialog(page).locator(".phrase").textContent(), `destroy ${former.id} and ${former.recordings} recordings`);
    await mean(page, "retention period over");
    await screenshot(page, "destroy-key");
    await confirm(page).click();
    await page.waitForFunction(() => document.querySelectorAll("[data-testid=destruction][data-state=done]").length === 2, null, { timeout: 30_000 });
    await page.waitForSelector(`[data-testid=key][data-id="${former.id}"][data-state=retired]`);
    assert.equal((await recordingsOf(tenant)).length, 0);
    assert.deepEqual(faults, []);
    await context.close();
  });
});

describe("the second person", () => {
  test("sees who asked, what for and which recordings, and types what the first did", async () => {
    const tenant = "meridian-health";
    const { context, page, faults } = await open(browser);
    page.setDefaultTimeout(15_000);
    await signIn(page);
    const ids = (await recordingsOf(tenant)).slice(0, 6).map(({ id }) => id);
    // The demo needs no second person: what the server would answer if it did.
    const asked = {
      id: "d1", scope: { kind: "recordings", ids }, reason: "erasure asked for by the caller", state: "requested", requestedBy: "somebody-else",
      requestedAt: "2026-11-22T10:39:16.524Z", decidedBy: null, decidedAt: null, recordings: null, lastError: null, endedAt: null, certified: false,
    };
    const steps = [];
    await page.route("**/destructions", (route) => route.fulfill({ json: { entities: [asked] } }));
    await page.route(/\/destructions\/d1\/\w+$/, (route) => {
      const step = new URL(route.request().url()).pathname.split("/").at(-1);
      steps.push(step);
      asked.state = step === "confirm" ? "halted" : "cancelled";
      return route.fulfill({ json: asked });
    });
    await openKeys(page, tenant);
    assert.equal(await page.textContent("[data-testid=requested-by]"), "somebody-else");
    const more = ids.length > 5 ? ` and ${ids.length - 5} more` : "";
    assert.equal(await page.textContent("[data-testid=destruction-ids]"), ids.slice(0, 5).join(", ") + more);
    await page.click("[data-testid=confirm-destruction]");
    await page.waitForSelector("[data-testid=phrase]");
    assert.equal(await dialog(page).locator(".phrase").textContent(), `destroy ${ids.length} recordings`);
    assert.match(await dialog(page).textContent(), /every key but the current one is destroyed.*somebody-else.*erasure asked for/s);
    assert.ok(await confirm(page).isDisabled());
    assert.deepEqual(await axe(page), []);
    await screenshot(page, "destroy-confirm");
    await page.fill("[data-testid=phrase]", `destroy ${ids.length} recordings`);
    await confirm(page).click();
    await newest(page, "halted");
    // Where nothing was destroyed yet, it can still be called off.
    await page.waitForSelector("[data-testid=resume-destruction]");
    await page.click("[data-testid=cancel-destruction]");
    await newest(page, "cancelled");
    assert.deepEqual(steps, ["confirm", "cancel"]);
    assert.deepEqual(faults, []);
    await context.close();
  });
});

describe("everything", () => {
  for (const { id: tenant, kind } of TENANTS) {
    test(`${kind}: nothing opens any more, nothing new is made, and what is left to others is named`, async () => {
      const { context, page, faults } = await session(tenant);
      const before = await recordingsOf(tenant);
      await page.click("[data-testid=destroy-tenant]");
      await page.waitForSelector("[data-testid=phrase]");
      assert.equal(await dialog(page).locator(".phrase").textContent(), `destroy ${tenant}`);
      await page.fill("[data-testid=phrase]", "destroy");
      assert.ok(await confirm(page).isDisabled());
      await mean(page, "the contract has ended");
      await screenshot(page, `destroy-${tenant}`);
      await confirm(page).click();
      await page.waitForSelector("[data-testid=destroyed]", { timeout: 30_000 });
      await page.waitForFunction(() => ![...document.querySelectorAll("[data-testid=destruction]")].some((each) => each.dataset.state === "running"), null, { timeout: 30_000 });
      assert.equal((await recordingsOf(tenant)).length, 0);
      for (const { id } of before) assert.ok([404, 410].includes(await grant(tenant, id)), id);
      for (const makes of ["destroy-tenant", "rotate", "register", "change-policy", "part-schedule", "part-recovery", "add-configuration"]) {
        assert.equal(await page.locator(`[data-testid=${makes}]`).count(), 0, makes);
      }
      const says = await certificateOf(page, tenant);
      assert.equal(says.recordings, before.length);
      const theirs = says.remaining.some((step) => /key service/.test(step));
      assert.equal(theirs, tenant !== TENANTS[0].id, says.remaining.join("\n"));
      await screenshot(page, `destroyed-${tenant}`);
      const made = await call(tenant, "admin", "POST", "/api/v2/recording/keyconfigurations", { keyConfigurationType: "Native" });
      assert.ok(made.status >= 400, String(made.status));
      assert.deepEqual(faults, []);
      await context.close();
    });
  }

  test("the tenant that was left alone still plays", async () => {
    const [recording] = await recordingsOf("meridian-health");
    assert.equal(await grant("meridian-health", recording.id), 201);
  });

  for (const [device, options] of [["laptop", {}], ["phone", PHONE]]) {
    for (const scheme of ["light", "dark"]) {
      test(`axe finds nothing, ${scheme}, ${device}; nothing scrolls sideways`, async () => {
        const { context, page, faults } = await session(TENANTS[0].id, { ...options, colorScheme: scheme, reducedMotion: "reduce" });
        assert.deepEqual(await axe(page), []);
        assert.equal(await sidewaysScroll(page), 0);
        await screenshot(page, `destroyed-${scheme}-${device}`);
        await openKeys(page, "meridian-health");
        await page.click("[data-testid=destroy-tenant]");
        await page.waitForSelector("[data-testid=phrase]");
        assert.deepEqual(await axe(page), []);
        await screenshot(page, `destroy-dialog-${scheme}-${device}`);
        assert.deepEqual(faults, []);
        await context.close();
      });
    }
  }
});

/* So that a demo that the tests were not started with is told apart. */
test("the demo has the tenants that this file names", () => {
  const ids = demo().tenants.map((each) => each.id);
  assert.ok(TENANTS.every(({ id }) => ids.includes(id)), ids.join(" "));
});

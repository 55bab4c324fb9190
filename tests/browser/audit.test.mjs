/* The Audit page: filters, pages, rows that open, times in the reader's zone, the export.
   Not for: the chain itself, nor which events are written. */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { axe, call, demo, launch, open, PHONE, screenshot, sidewaysScroll, signIn, withRole } from "./driver.mjs";

const TENANT = "northwind-bank";

let browser;
let context, page, faults;
before(async () => {
  browser = await launch();
  // More than a page of events of one kind.
  const { body } = await call(TENANT, "agent", "GET", "/api/v1/recordings?limit=1");
  for (let at = 0; at < 60; at += 1) await call(TENANT, "agent", "POST", `/api/v1/recordings/${body.entities[0].id}/playback`);
  ({ context, page, faults } = await open(browser));
  await signIn(page);
});
after(async () => {
  assert.deepEqual(faults, []);
  await browser?.close();
});

const address = (query = "") => new URL(`/admin/audit${query}`, demo().url).href;
const rows = () => page.$$eval("[data-testid=event]", (all) => all.map((each) => ({ ...each.dataset })));
const settled = () => page.waitForFunction(() =>
  !document.querySelector(".skeleton") && document.querySelector(".audit-table")?.getAttribute("aria-busy") !== "true");

describe("the audit page", () => {
  test("it is reached from the page's head, newest first", async () => {
    await page.click(".top-nav a[href='/admin/audit']");
    await page.waitForSelector("[data-testid=event]");
    const times = await page.$$eval("[data-testid=event] time", (all) => all.map((each) => each.dateTime));
    assert.deepEqual(times, [...times].sort().reverse());
    assert.equal(times.length, 50);
    await screenshot(page, "audit");
  });

  test("later pages come below, nothing twice", async () => {
    await page.goto(address(`?tenant=${TENANT}&action=grant.created`));
    await page.waitForSelector("[data-testid=event]");
    assert.equal((await rows()).length, 50);
    await page.click("[data-testid=more]");
    await page.waitForFunction(() => document.querySelectorAll("[data-testid=event]").length > 50);
    const controls = await page.$$eval("[data-testid=event] .audit-open", (all) => all.length);
    assert.equal(controls, (await rows()).length);
  });

  test("filters narrow, live in the address, and survive a reload", async () => {
    await page.goto(address());
    await page.waitForSelector("[data-testid=event]");
    await page.selectOption("[data-testid=filter-action]", "key.unwrapped");
    await page.waitForURL(/action=key.unwrapped/);
    await page.waitForFunction(() => [...document.querySelectorAll("[data-testid=event]")].every((each) => each.dataset.action === "key.unwrapped"));
    await page.selectOption("[data-testid=tenant]", TENANT);
    await page.waitForURL(/tenant=/);
    await settled();
    // Of this tenant's: the last answer, not one that was under way.
    const narrowed = page.waitForResponse((answer) => {
      const asked = new URL(answer.url()).searchParams;
      return asked.get("outcome") === "ok" && answer.url().includes(TENANT) && answer.ok();
    });
    await page.fill("[data-testid=filter-outcome]", "ok");
    await page.waitForURL(/outcome=ok/);
    await narrowed;
    await settled();
    const before = await rows();
    assert.ok(before.length > 0 && before.every((each) => each.outcome === "ok" && each.action === "key.unwrapped"));
    await page.reload();
    await page.waitForSelector("[data-testid=event]");
    assert.equal(await page.inputValue("[data-testid=filter-outcome]"), "ok");
    assert.equal((await rows()).length, before.length);
    await page.click("[data-testid=filter-clear]");
    await page.waitForURL((url) => url.search === `?tenant=${TENANT}`);
  });

  test("a subject nobody has finds nothing and says so", async () => {
    await page.goto(address());
    await page.waitForSelector("[data-testid=event]");
    await page.fill("[data-testid=filter-subject]", "nobody-of-this-name");
    await page.waitForSelector("[data-testid=empty]");
    await page.getByRole("button", { name: "Clear all filters" }).click();
    await page.waitForSelector("[data-testid=event]");
  });

  test("a row opens everything that was written down, and leads to its like", async () => {
    await page.goto(address(`?tenant=${TENANT}&action=grant.created`));
    await page.waitForSelector("[data-testid=event]");
    const [entry] = (await call(TENANT, "admin", "GET", "/api/v1/audit?limit=1&action=grant.created")).body.entities;
    const first = page.locator("[data-testid=event] .audit-open").first();
    await first.focus();
    await page.keyboard.press("Enter");
    assert.equal(await first.getAttribute("aria-expanded"), "true");
    const details = page.locator("[data-testid=event-details]");
    const text = await details.textContent();
    for (const value of [entry.subject, entry.recording, ...Object.values(entry.fields).filter((each) => typeof each === "string")]) assert.ok(text.includes(value), value);
    assert.match(await details.locator("[data-testid=hash]").textContent(), /^[0-9a-f]{64}$/);
    assert.equal(await details.locator("[data-testid=hash]").textContent(), entry.hash);
    await screenshot(page, "audit-opened");
    await details.getByRole("button", { name: "Only this recording" }).click();
    await page.waitForURL((url) => url.searchParams.get("recording") === entry.recording);
    await settled();
    await page.keyboard.press("Escape");
  });

  test("times are the reader's, and everybody's on hover; from and to are the reader's minutes", async () => {
    const tokyo = await open(browser, { timezoneId: "Asia/Tokyo" });
    await signIn(tokyo.page);
    await tokyo.page.goto(address(`?from=2026-01-01T00:00:00.000Z`));
    await tokyo.page.waitForSelector("[data-testid=event]");
    assert.equal(await tokyo.page.inputValue("[data-testid=filter-from]"), "2026-01-01T09:00");
    const { at, shown, title } = await tokyo.page.$eval("[data-testid=event] time", (time) => ({ at: time.dateTime, shown: time.textContent, title: time.title }));
    assert.equal(title, `${at.replace("T", " ").replace(/(\.000)?Z$/, "")} UTC`);
    assert.ok(shown.includes(new Intl.DateTimeFormat("en-GB", { timeStyle: "medium", timeZone: "Asia/Tokyo" }).format(new Date(at))), `${shown} of ${at}`);
    await tokyo.page.fill("[data-testid=filter-to]", "2026-01-02T09:00");
    await tokyo.page.waitForURL((url) => url.searchParams.get("to") === "2026-01-02T00:00:00.000Z");
    await tokyo.page.waitForSelector("[data-testid=empty]");
    await tokyo.context.close();
  });

  test("the export is JSON lines of what is filtered", async () => {
    await page.goto(address(`?tenant=${TENANT}&action=grant.created`));
    await page.waitForSelector("[data-testid=event]");
    const [download] = await Promise.all([page.waitForEvent("download"), page.click("[data-testid=export]")]);
    const chunks = [];
    for await (const chunk of await download.createReadStream()) chunks.push(chunk);
    const entries = Buffer.concat(chunks).toString("utf8").trim().split("\n").map((line) => JSON.parse(line));
    assert.ok(entries.length >= 60, `${entries.length} lines`);
    for (const entry of entries) {
      assert.equal(entry.action, "grant.created");
      assert.equal(entry.tenant, TENANT);
      assert.match(entry.hash, /^[0-9a-f]{64}$/);
    }
  });

  test("a filter that makes no sense is answered in the server's words", async () => {
    await page.goto(address("?from=yesterday"));
    const problem = page.locator("[data-testid=problem]");
    await problem.waitFor();
    assert.match(await problem.textContent(), /from/);
  });

  test("agents see neither the link nor the page", async () => {
    const agent = await open(browser);
    await signIn(agent.page);
    await withRole(agent.page, "agent");
    await agent.page.goto(address());
    await agent.page.waitForSelector("[data-testid=not-for-you]");
    assert.equal(await agent.page.locator("a[href='/admin/audit']").count(), 0);
    await agent.context.close();
  });

  for (const scheme of ["light", "dark"]) {
    for (const [device, options] of [["laptop", {}], ["phone", PHONE]]) {
      test(`axe finds nothing, ${scheme}, ${device}; nothing scrolls sideways`, async () => {
        const opened = await open(browser, { ...options, colorScheme: scheme, reducedMotion: "reduce" });
        await signIn(opened.page);
        await opened.page.goto(address());
        await opened.page.waitForSelector("[data-testid=event]");
        await opened.page.locator("[data-testid=event] .audit-open").nth(1).click();
        if (device === "phone") await opened.page.click(".filters-button");
        await opened.page.waitForTimeout(200);
        assert.deepEqual(await axe(opened.page), []);
        assert.ok(await sidewaysScroll(opened.page) <= 0);
        await screenshot(opened.page, `audit-${scheme}-${device}`);
        assert.deepEqual(opened.faults, []);
        await opened.context.close();
      });
    }
  }
});

/* How the browser tests start Chromium, sign in, look at the player and run axe.
   Not for: what is expected (*.test.mjs). */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { chromium } from "playwright-core";

const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/* The one line of JSON that `keyreel demo` prints, kept in a file. */
export function demo() {
  const file = process.env.KEYREEL_DEMO_JSON;
  if (!file) throw new Error("KEYREEL_DEMO_JSON must name a file with the line that `keyreel demo` prints");
  return JSON.parse(readFileSync(file, "utf8").trim().split("\n")[0]);
}

export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
    ],
  });
}

export const LAPTOP = { viewport: { width: 1366, height: 850 } };
export const PHONE = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };

/* A fresh profile with one page. `faults` gathers what no page may do: errors in its scripts and
   breaches of the content security policy. */
export async function open(browser, options) {
  const context = await browser.newContext({ ...LAPTOP, locale: "en-GB", ...options });
  const page = await context.newPage();
  const faults = [];
  page.on("pageerror", (error) => faults.push(`script: ${error.message}`));
  page.on("console", (message) => {
    if (/content security policy|violates/i.test(message.text())) faults.push(`policy: ${message.text()}`);
  });
  return { context, page, faults };
}

export async function signIn(page) {
  await page.goto(demo().sign_in);
  await page.waitForSelector("[data-testid=row]");
}

/* A two-channel call with a transcript, and its transcript as the server gives it. */
export async function pickCall(page) {
  return page.evaluate(async () => {
    const page = await (await fetch("/api/v1/recordings?limit=100&media=call")).json();
    const calls = page.entities.filter((call) => call.hasTranscript && call.channels.length === 2 && call.durationMs >= 45_000);
    // Prefer WAV: its ranges are the plainest.
    const call = calls.find((each) => /wav/.test(each.contentType)) ?? calls[0];
    if (!call) throw new Error("the library has no two-channel call with a transcript");
    const grant = await (await fetch(`/api/v1/recordings/${call.id}/playback`, { method: "POST", headers: { "x-keyreel": "1" } })).json();
    const transcript = await (await fetch(grant.transcriptUri)).json();
    return { call, transcript };
  });
}

export async function openPlayer(page, id, query = "") {
  await page.goto(new URL(`/recordings/${id}${query}`, demo().url).href);
  await page.waitForSelector('.waveform[data-state="ready"]');
  await page.waitForFunction(() => window.__keyreel?.status === "ready");
}

/* The Encryption keys page of a tenant, once all of its parts are there. */
export async function openKeys(page, tenant) {
  await page.goto(new URL(`/admin/encryption-keys?tenant=${tenant}`, demo().url).href);
  await keysSettled(page);
}

export async function keysSettled(page) {
  await page.waitForSelector("[data-testid=now]");
  await page.waitForFunction(() =>
    document.querySelectorAll(".admin-card[aria-busy=true], [data-testid=health][data-kind=asking]").length === 0);
}

/* The API with a tenant's token: `role` is "admin" or "agent". */
export async function call(tenant, role, method, path, body) {
  const access = demo().tenants.find((each) => each.id === tenant);
  const response = await fetch(new URL(path, demo().url), {
    method, headers: { authorization: `Bearer ${access[`${role}_token`]}`, ...(body === undefined ? {} : { "content-type": "application/json" }) },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  return { status: response.status, body: /json\b/.test(response.headers.get("content-type") ?? "") && !/ndjson/.test(response.headers.get("content-type")) ? JSON.parse(text) : text };
}

/* Runs the program under test, and reads the JSON line that it prints. */
export function program(...args) {
  const binary = process.env.KEYREEL_PROGRAM ?? new URL("../../target/release/keyreel", import.meta.url).pathname;
  return JSON.parse(execFileSync(binary, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim().split("\n")[0]);
}

/* The session as it would be with another role everywhere: what the pages show of themselves then. */
export async function withRole(page, role) {
  await page.route("**/api/v1/session", async (route) => {
    if (route.request().method() !== "GET") return route.continue();
    const response = await route.fetch();
    const session = await response.json();
    return route.fulfill({ response, json: { ...session, tenants: session.tenants.map((tenant) => ({ ...tenant, role })) } });
  });
}

/* The player's read-only diagnostics, once. */
export function state(page) {
  return page.evaluate(() => {
    const { status, time, duration, playing, verified, grants, recoveries } = window.__keyreel;
    const audio = document.querySelector("audio");
    return { status, time, duration, playing, verified, grants, recoveries, currentTime: audio.currentTime, rate: audio.playbackRate, muted: audio.muted, level: window.__keyreel.level() };
  });
}

/* The loudest level over some time, as speech has pauses; or the first that is loud enough. */
export function loudest(page, ms, lane, enough = Infinity) {
  return page.evaluate(async ([ms, lane, enough]) => {
    let most = 0;
    const end = performance.now() + ms;
    while (performance.now() < end && most <= enough) {
      most = Math.max(most, lane === null ? window.__keyreel.level() : window.__keyreel.laneLevel(lane));
      await new Promise((done) => setTimeout(done, 20));
    }
    return most;
  }, [ms, lane ?? null, enough]);
}

export async function press(page, ...keys) {
  for (const key of keys) await page.keyboard.press(key);
}

/* What axe finds, as lines to read. */
export async function axe(page) {
  // By way of the debugger, which the pages' policy does not bind.
  await page.evaluate(axeSource);
  const results = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  return results.violations.map((violation) =>
    `${violation.impact}: ${violation.id}: ${violation.nodes.map((node) => `${node.target.join(" ")} (${node.any.concat(node.all).map((check) => check.message).join("; ")})`).join(" | ")}`);
}

export async function screenshot(page, name) {
  const folder = process.env.KEYREEL_SHOTS;
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  await page.screenshot({ path: path.join(folder, `${name}.png`) });
}

export async function sidewaysScroll(page) {
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}

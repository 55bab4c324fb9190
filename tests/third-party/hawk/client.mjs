// Asks a Local Key Manager with npm's own Hawk, which signs the requests and checks the answers.
//   node client.mjs '{"url":…,"id":…,"key":…,"request":{"keypairId":…,"body":…},"expected":"base64"}'
// Prints the cases that held, one a line; fails at the first that does not.

import assert from "node:assert/strict";

import Hawk from "hawk";

const { url, id, key, request, expected } = JSON.parse(process.argv[2]);
const credentials = { id, key, algorithm: "sha256" };
const contentType = "application/json";
const payload = JSON.stringify(request);

function sign(method, options, target = url) {
  return Hawk.client.header(target, method, { credentials, ...options });
}

async function send(method, header, body, target = url) {
  const headers = { authorization: header, "content-type": contentType };
  const answer = await fetch(target, { method, headers, body, redirect: "error" });
  const text = await answer.text();
  // What Hawk's client reads of an answer: headers by name.
  const message = { headers: Object.fromEntries(answer.headers) };
  return { status: answer.status, text, json: JSON.parse(text), message };
}

const cases = {
  async "a hashed body is accepted, and the answer is signed"() {
    const { header, artifacts } = sign("POST", { payload, contentType });
    const answer = await send("POST", header, payload);
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.json.body, expected);
    const options = { payload: answer.text, required: true };
    await Hawk.client.authenticate(answer.message, credentials, artifacts, options);
    const changed = { payload: answer.text.replace("body", "Body"), required: true };
    assert.throws(() => Hawk.client.authenticate(answer.message, credentials, artifacts, changed));
  },
  async "a body without a hash is accepted"() {
    const answer = await send("POST", sign("POST").header, payload);
    assert.equal(answer.json.body, expected, answer.text);
  },
  async "a query that is signed is accepted"() {
    const target = `${url}?a=b`;
    const { header } = sign("POST", { payload, contentType }, target);
    assert.equal((await send("POST", header, payload, target)).json.body, expected);
  },
  async "ext is covered"() {
    const { header } = sign("POST", { ext: "keyreel-recording=r-1" });
    assert.equal((await send("POST", header.replace("r-1", "r-2"), payload)).status, 401);
    assert.equal((await send("POST", header, payload)).json.body, expected);
  },
  async "OPTIONS is answered to whoever signs"() {
    assert.equal((await send("OPTIONS", sign("OPTIONS").header)).status, 200);
    assert.equal((await send("OPTIONS", sign("POST").header)).status, 401);
  },
  async "a replay is refused"() {
    const { header } = sign("POST", { payload, contentType });
    assert.equal((await send("POST", header, payload)).status, 200);
    assert.equal((await send("POST", header, payload)).status, 401);
  },
  async "a stale timestamp is refused with the time, signed"() {
    for (const localtimeOffsetMsec of [-90_000, 90_000]) {
      const { header, artifacts } = sign("POST", { payload, contentType, localtimeOffsetMsec });
      const answer = await send("POST", header, payload);
      assert.equal(answer.status, 401);
      assert.match(answer.message.headers["www-authenticate"], /Stale timestamp/);
      // Throws unless `tsm` is right.
      await Hawk.client.authenticate(answer.message, credentials, artifacts);
      const others = { ...credentials, key: "another" };
      assert.throws(() => Hawk.client.authenticate(answer.message, others, artifacts));
    }
  },
  async "a changed body is refused"() {
    const { header } = sign("POST", { payload, contentType });
    assert.equal((await send("POST", header, payload.replace(/.}$/, "A}"))).status, 401);
  },
  async "a wrong key and an unknown id are refused"() {
    for (const wrong of [{ ...credentials, key: "x" }, { ...credentials, id: "x" }]) {
      const { header } = Hawk.client.header(url, "POST", { credentials: wrong });
      assert.equal((await send("POST", header, payload)).status, 401);
    }
  },
  async "an unknown key pair is refused"() {
    const other = { ...request, keypairId: "00000000-0000-4000-8000-000000000000" };
    const answer = await send("POST", sign("POST").header, JSON.stringify(other));
    assert.equal(answer.status, 404);
    assert.equal(answer.json.code, "unknown-key-pair");
  },
};

for (const [name, check] of Object.entries(cases)) {
  await check();
  console.log(name);
}

//! Who may come in, changed by commands beside a running server: it follows within two seconds, and
//! the audit log of every tenant concerned says so.

use std::io::Write as _;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use keyreel_tests::{Client, Demo, JsonResponse as _, keyreel};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::audit::sql;

/// What is promised is two seconds; the rest is a busy machine's.
const SOON: Duration = Duration::from_secs(10);

const OLD: &str = "correct horse battery";
const NEW: &str = "staple of another kind";

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_revoked_opens_nothing_any_more() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let demo = Demo::start(&data)?;
    let [first, second] = [&demo.ready.tenants[0], &demo.ready.tenants[1]];
    let role = ["--role", "agent", "--expires", "30"];
    let mut args = vec!["token", "add", "night-shift"];
    args.extend(["--tenant", &first.id, "--tenant", &second.id]);
    args.extend(role);
    let secret = said(&run(&demo, &args, None)?)?;
    let secret = secret.trim();
    let client = Client::new(&demo.ready.url, secret);
    let known = client.recordings(200).await?;
    let playback = client.playback(&known.first().context("a recording")?.id);
    let media = playback.await?.media_uri;
    assert_eq!(client.range(&media, 0, 9).await?.len(), 10);

    let listed = said(&run(&demo, &["token", "list"], None)?)?;
    assert!(!listed.contains(secret), "{listed}");
    let mine = lines(&listed)?
        .into_iter()
        .find(|token| token["label"] == "night-shift")
        .context(listed)?;
    let role = |tenant: &str| json!({ "tenant": tenant, "role": "agent" });
    assert_eq!(mine["roles"], json!([role(&first.id), role(&second.id)]));
    assert!(mine["expires"].is_string() && mine["created"].is_string());
    let id = mine["id"].as_str().context("id")?;

    said(&run(&demo, &["token", "revoke", id], None)?)?;
    for path in ["/api/v1/recordings", &media] {
        soon(|| async {
            let answer = client.send(Method::GET, path, &[]).await?;
            let known = [StatusCode::OK, StatusCode::UNAUTHORIZED];
            anyhow::ensure!(known.contains(&answer.status()), "{answer:?}");
            Ok(answer.status() == StatusCode::UNAUTHORIZED)
        })
        .await?;
    }
    let left = said(&run(&demo, &["token", "list"], None)?)?;
    assert!(!left.contains(id), "{left}");
    let again = run(&demo, &["token", "revoke", id], None)?;
    assert_eq!(again.status.code(), Some(64), "{again:?}");
    assert!(String::from_utf8_lossy(&again.stderr).contains("keyreel token list"));

    for tenant in [first, second] {
        for action in ["token.added", "token.revoked"] {
            let event = event(&Client::new(&demo.ready.url, &tenant.admin_token), action).await?;
            assert_eq!(event["subject"], "keyreel:command", "{event}");
            assert_eq!(event["fields"]["token"], id, "{event}");
            assert_eq!(event["fields"]["label"], "night-shift", "{event}");
        }
    }

    // A broken log holds back what gives access, not what takes it away.
    let add = ["token", "add", "dawn", "--role", "agent", "--tenant"];
    let add = [&add[..], &[first.id.as_str()]].concat();
    said(&run(&demo, &add, None)?)?;
    let listed = lines(&said(&run(&demo, &["token", "list"], None)?)?)?;
    let dawn = listed.iter().find(|token| token["label"] == "dawn");
    let dawn = dawn.and_then(|token| token["id"].as_str());
    let dawn = dawn.context("listed")?.to_owned();
    let last = "(SELECT max(seq) FROM audit)";
    sql(&data, &format!("DELETE FROM audit WHERE seq = {last}"))?;
    let refused = run(&demo, &add, None)?;
    assert!(!refused.status.success() && refused.stdout.is_empty());
    let revoked = run(&demo, &["token", "revoke", &dawn], None)?;
    assert_eq!(revoked.status.code(), Some(1), "{revoked:?}");
    assert!(String::from_utf8_lossy(&revoked.stderr).contains("not in the audit log"));
    let left = said(&run(&demo, &["token", "list"], None)?)?;
    assert!(!left.contains("dawn"), "{left}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_signs_in_until_its_password_changes_or_it_is_removed() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let demo = Demo::start(&folder.path().join("data"))?;
    let tenant = &demo.ready.tenants[0];
    let mut add = vec!["user", "add", "maya@example.com"];
    add.extend(["--tenant", &tenant.id, "--role", "supervisor"]);
    let short = run(&demo, &add, Some("short"))?;
    assert_eq!(short.status.code(), Some(64), "{short:?}");
    said(&run(&demo, &add, Some(OLD))?)?;
    let twice = run(&demo, &add, Some(OLD))?;
    assert_eq!(twice.status.code(), Some(64), "{twice:?}");

    let listed = said(&run(&demo, &["user", "list"], None)?)?;
    let maya = lines(&listed)?
        .into_iter()
        .find(|user| user["name"] == "maya@example.com")
        .context(listed.clone())?;
    assert_eq!(
        maya["roles"],
        json!([{ "tenant": tenant.id, "role": "supervisor" }])
    );
    assert!(!listed.contains("argon2"), "{listed}");

    let signed_in = sign_in(&demo, OLD).await?.context("signs in")?;
    assert!(is_in(&demo, &signed_in).await?);
    // A name is what one signs in with, in any case.
    let password = ["user", "password", "Maya@Example.com"];
    said(&run(&demo, &password, Some(NEW))?)?;
    soon(|| async { Ok(!is_in(&demo, &signed_in).await?) }).await?;
    assert_eq!(sign_in(&demo, OLD).await?, None, "the old password");
    let signed_in = sign_in(&demo, NEW).await?.context("the new password")?;
    assert!(is_in(&demo, &signed_in).await?);

    said(&run(&demo, &["user", "remove", "maya@example.com"], None)?)?;
    soon(|| async { Ok(!is_in(&demo, &signed_in).await?) }).await?;
    assert_eq!(sign_in(&demo, NEW).await?, None, "removed");
    let again = run(&demo, &["user", "remove", "maya@example.com"], None)?;
    assert_eq!(again.status.code(), Some(64), "{again:?}");

    let admin = Client::new(&demo.ready.url, &tenant.admin_token);
    for action in [
        "account.added",
        "account.password.changed",
        "account.removed",
    ] {
        let event = event(&admin, action).await?;
        assert_eq!(event["fields"]["account"], maya["id"], "{event}");
        assert!(!event.to_string().contains("maya@"), "{event}");
    }
    Ok(())
}

/// `keyreel …` on the demo's data.
fn run(demo: &Demo, args: &[&str], stdin: Option<&str>) -> anyhow::Result<Output> {
    let mut child = keyreel()
        .args(args)
        .arg("--config")
        .arg(demo.config())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().context("stdin")?;
    // A command that refuses first does not read it.
    let _ = input.write_all(stdin.unwrap_or_default().as_bytes());
    drop(input);
    Ok(child.wait_with_output()?)
}

fn said(output: &Output) -> anyhow::Result<String> {
    let told = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{told}");
    Ok(String::from_utf8(output.stdout.clone())?)
}

fn lines(text: &str) -> anyhow::Result<Vec<Value>> {
    let lines = text.lines().map(serde_json::from_str);
    Ok(lines.collect::<Result<_, _>>()?)
}

/// The session's cookie, if the password is right.
async fn sign_in(demo: &Demo, password: &str) -> anyhow::Result<Option<String>> {
    let answer = reqwest::Client::new()
        .post(format!("{}/api/v1/session", demo.ready.url))
        .header("content-type", "application/json")
        .body(json!({ "name": "maya@example.com", "password": password }).to_string())
        .send()
        .await?;
    if answer.status() == StatusCode::UNAUTHORIZED {
        return Ok(None);
    }
    let answer = answer.error_for_status()?;
    let cookie = answer.headers().get("set-cookie").context("set-cookie")?;
    let cookie = cookie.to_str()?.split(';').next();
    Ok(cookie.map(str::to_owned))
}

async fn is_in(demo: &Demo, cookie: &str) -> anyhow::Result<bool> {
    let answer = reqwest::Client::new()
        .get(format!("{}/api/v1/recordings", demo.ready.url))
        .header("cookie", cookie)
        .send()
        .await?;
    let known = [StatusCode::OK, StatusCode::UNAUTHORIZED];
    anyhow::ensure!(known.contains(&answer.status()), "{answer:?}");
    Ok(answer.status() == StatusCode::OK)
}

/// The tenant's newest event of this action.
async fn event(client: &Client, action: &str) -> anyhow::Result<Value> {
    let path = format!("/api/v1/audit?action={action}");
    let page = client.send(Method::GET, &path, &[]).await?;
    let page: Value = page.error_for_status()?.json().await?;
    page.pointer("/entities/0").cloned().context(path)
}

async fn soon<F: Future<Output = anyhow::Result<bool>>>(
    mut there: impl FnMut() -> F,
) -> anyhow::Result<()> {
    let started = Instant::now();
    while !there().await? {
        anyhow::ensure!(started.elapsed() < SOON, "not within {SOON:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    eprintln!("felt after {} ms", started.elapsed().as_millis());
    Ok(())
}

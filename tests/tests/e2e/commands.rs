//! Commands on one file, and the one file that the program itself is.

use std::process::Command;

use bytes::BytesMut;
use keyreel_format::{
    ContentType, Dek, Header, Identity, KekId, KeyBlock, PartName, ProviderId, Recipient,
    RecordingId, Sealer, TenantId, WrapAlgorithm,
};
use keyreel_tests::{keyreel, noise_wave, program, root};

/// A sealed file, its DEK and its plaintext.
fn sealed_file(
    folder: &std::path::Path,
    plaintext: &[u8],
) -> anyhow::Result<(std::path::PathBuf, String)> {
    let dek = Dek::generate();
    let identity = Identity {
        object_id: [7; 16],
        tenant: TenantId::parse("meridian-health")?,
        recording: RecordingId::parse("r-1")?,
        part: PartName::parse("media")?,
        content_type: ContentType::parse("audio/wav")?,
        created_ms: 1_700_000_000_000,
    };
    let recipient = Recipient {
        algorithm: WrapAlgorithm::RsaOaepSha256,
        provider: ProviderId::parse("managed")?,
        kek: KekId::parse("kek/1")?,
        wrapped_dek: vec![9; 384],
        info: Vec::new(),
    };
    let key_block = KeyBlock {
        generation: 0,
        recipients: vec![recipient],
    };
    let (slot, prefix, mut sealer) = Sealer::new(&identity, &key_block, &dek)?;
    let mut object = BytesMut::from(&slot[..]);
    object.extend_from_slice(&prefix);
    sealer.push(plaintext, &mut object)?;
    sealer.finish(&mut object)?;
    let path = folder.join("sealed.krc");
    std::fs::write(&path, object)?;
    Ok((path, hex::encode(dek.expose())))
}

/// The key record of a sealed file, under another KEK.
fn rewrapped(path: &std::path::Path, dek: &str) -> anyhow::Result<std::path::PathBuf> {
    let mut bytes = zeroize::Zeroizing::new([0; Dek::LEN]);
    hex::decode_to_slice(dek, &mut *bytes)?;
    let dek = Dek::new(bytes);
    let header = Header::parse(&std::fs::read(path)?)?.verify(&dek)?;
    let mut key_block = header.key_block().clone();
    key_block.generation = 5;
    for recipient in &mut key_block.recipients {
        recipient.kek = KekId::parse("kek/2")?;
    }
    let record = path.with_extension("krc.key.5");
    std::fs::write(&record, header.key_record(&dek, &key_block)?)?;
    Ok(record)
}

#[test]
fn inspect_and_open_need_no_server() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let wave = noise_wave(100_000, 3);
    let (path, dek) = sealed_file(folder.path(), &wave)?;

    let out = keyreel().arg("inspect").arg(&path).arg("--json").output()?;
    assert!(out.status.success());
    let header: serde_json::Value = serde_json::from_slice(&out.stdout)?;
    assert_eq!(header["tenant"], "meridian-health");
    assert_eq!(header["recipients"][0]["kek"], "kek/1");
    assert_eq!(header["plaintextBytes"], wave.len());

    let out = keyreel()
        .arg("open")
        .arg(&path)
        .args(["--dek-hex", &dek])
        .output()?;
    assert!(out.status.success() && out.stdout == wave);

    // A key record stands for the file's own header, here and there.
    let record = rewrapped(&path, &dek)?;
    let out = keyreel()
        .args(["inspect", "--json", "--key-record"])
        .args([&record, &path])
        .output()?;
    let header: serde_json::Value = serde_json::from_slice(&out.stdout)?;
    assert_eq!(header["generation"], 5);
    assert_eq!(header["recipients"][0]["kek"], "kek/2");
    // One that was changed opens nothing.
    let mut bytes = std::fs::read(&record)?;
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let changed = folder.path().join("changed");
    std::fs::write(&changed, bytes)?;
    let mut ours = keyreel();
    ours.arg("open");
    let mut pythons = Command::new(root().join("tests/.venv/bin/python"));
    pythons.arg(root().join("tests/interop/open_sealed.py"));
    for start in [ours, pythons] {
        for (record, opens) in [(&record, true), (&changed, false)] {
            let out = Command::new(start.get_program())
                .args(start.get_args())
                .arg(&path)
                .args(["--dek-hex", &dek, "--key-record"])
                .arg(record)
                .output()?;
            let stderr = String::from_utf8_lossy(&out.stderr);
            assert_eq!(out.status.success(), opens, "{start:?}: {stderr}");
            assert!(
                out.stdout == if opens { &wave[..] } else { &[] },
                "{start:?}"
            );
        }
    }

    // PyPI `cryptography` opens it as well, with nothing of ours.
    let out = Command::new(root().join("tests/.venv/bin/python"))
        .arg(root().join("tests/interop/open_sealed.py"))
        .arg(&path)
        .args(["--dek-hex", &dek])
        .output()?;
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    assert!(out.stdout == wave);
    Ok(())
}

#[test]
fn a_wrong_key_and_a_damaged_file_are_told_and_nothing_comes_out() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (path, dek) = sealed_file(folder.path(), &noise_wave(100, 3))?;
    let wrong = keyreel()
        .arg("open")
        .arg(&path)
        .args(["--dek-hex", &"00".repeat(32)])
        .output()?;
    assert!(!wrong.status.success() && wrong.stdout.is_empty());
    let short = keyreel()
        .arg("open")
        .arg(&path)
        .args(["--dek-hex", "abcd"])
        .output()?;
    assert_eq!(short.status.code(), Some(64));
    assert!(
        !String::from_utf8_lossy(&short.stderr).contains("abcd"),
        "a key in an error text"
    );

    let mut bytes = std::fs::read(&path)?;
    bytes[4096 + 100] ^= 1;
    std::fs::write(&path, bytes)?;
    let damaged = keyreel()
        .arg("open")
        .arg(&path)
        .args(["--dek-hex", &dek])
        .output()?;
    assert!(!damaged.status.success() && damaged.stdout.is_empty());
    Ok(())
}

#[test]
fn bad_usage_ends_with_64_and_stdout_stays_empty() -> anyhow::Result<()> {
    for arguments in [
        &["serve", "--config", "/nonexistent.toml"][..],
        &["frobnicate"],
        &["open"],
    ] {
        let out = keyreel().args(arguments).output()?;
        assert_eq!(out.status.code(), Some(64), "{arguments:?}");
        assert!(out.stdout.is_empty() && !out.stderr.is_empty());
    }
    let schema = keyreel().args(["config", "schema"]).output()?;
    let committed = std::fs::read_to_string(root().join("docs/config.schema.json"))?;
    assert_eq!(
        String::from_utf8(schema.stdout)?,
        committed,
        "run `make docs`"
    );
    Ok(())
}

/// What was done, also where no server runs and nobody has a role.
#[test]
fn an_operator_reads_the_whole_audit_log() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("keyreel.toml");
    std::fs::write(
        &file,
        "[storage]\ncatalogue = \"c.sqlite\"\nobjects = \"objects\"\ncache = \"cache\"\n\
         [keystore]\ndirectory = \"keystore\"\nmaster_key_file = \"master.key\"\n",
    )?;
    let run = |arguments: &[&str]| {
        let out = keyreel()
            .args(arguments)
            .arg("--config")
            .arg(&file)
            .output()?;
        let stderr = String::from_utf8_lossy(&out.stderr);
        anyhow::ensure!(out.status.success(), "{arguments:?}: {stderr}");
        Ok(String::from_utf8(out.stdout)?)
    };
    run(&["keystore", "init"])?;
    for tenant in ["acme", "globex"] {
        run(&["tenant", "add", tenant, "--policy", "aes256"])?;
    }
    let actions = |log: String| -> anyhow::Result<Vec<String>> {
        log.lines()
            .map(|line| {
                let event: serde_json::Value = serde_json::from_str(line)?;
                anyhow::ensure!(event["at"].is_string(), "{event}");
                Ok(format!("{} {}", event["tenant"], event["action"]).replace('"', ""))
            })
            .collect()
    };
    let all = actions(run(&["audit", "tail"])?)?;
    let made = [
        "tenant.added",
        "key.unwrap.requested",
        "key.unwrapped",
        "key.minted",
    ];
    let expected: Vec<String> = ["acme", "globex"]
        .iter()
        .flat_map(|tenant| made.iter().map(move |action| format!("{tenant} {action}")))
        .collect();
    assert_eq!(all, expected);
    let last = actions(run(&["audit", "tail", "-n", "2"])?)?;
    assert_eq!(last, expected[6..]);
    let minted = [
        "audit",
        "tail",
        "--tenant",
        "acme",
        "--action",
        "key.minted",
    ];
    assert_eq!(actions(run(&minted)?)?, ["acme key.minted"]);
    // Nobody's tenant's, and in the log all the same.
    run(&["keystore", "rekey"])?;
    let last = actions(run(&["audit", "tail", "-n", "1"])?)?;
    assert_eq!(last, ["null keystore.rekeyed"]);
    run(&["audit", "verify"])?;
    Ok(())
}

/// A new key in the place of a lost one would look like the right one, and open nothing.
#[test]
fn init_makes_no_key_for_data_that_has_another() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("keyreel.toml");
    std::fs::write(
        &config,
        "[storage]\ncatalogue = \"c.sqlite\"\nobjects = \"objects\"\ncache = \"cache\"\n\
         [keystore]\ndirectory = \"keystore\"\nmaster_key_file = \"master.key\"\n",
    )?;
    let lkm = folder.path().join("lkm");
    let cases = [
        (["keystore", "init", "--config"], &config, "master.key"),
        (["lkm", "init", "--data"], &lkm, "lkm/master.key"),
    ];
    for (command, place, key) in cases {
        let init = || keyreel().args(command).arg(place).output();
        assert!(init()?.status.success(), "{command:?}");
        let key = folder.path().join(key);
        let elsewhere = folder.path().join("elsewhere");
        std::fs::rename(&key, &elsewhere)?;
        let refused = init()?;
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(
            !refused.status.success() && said.contains("master.key"),
            "{said}"
        );
        assert!(!key.exists(), "{command:?} made a key");
    }
    // `init` is no answer to that, but to what is not there at all.
    let pairs = |data: &std::path::Path| -> anyhow::Result<String> {
        let out = keyreel()
            .args(["lkm", "pairs", "--data"])
            .arg(data)
            .output()?;
        assert!(!out.status.success());
        Ok(String::from_utf8(out.stderr)?)
    };
    let said = pairs(&lkm)?;
    assert!(!said.contains("lkm init"), "{said}");
    let said = pairs(&folder.path().join("nothing"))?;
    assert!(said.contains("lkm init"), "{said}");
    Ok(())
}

/// Signatures cover the name, so a service on the network must know its own.
#[test]
fn a_local_key_manager_on_the_network_is_told_its_name() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("lkm");
    let run = |arguments: &[&str]| {
        let mut command = keyreel();
        command.arg("lkm").args(arguments).arg("--data").arg(&data);
        command.output()
    };
    assert!(run(&["init"])?.status.success());
    let any = folder.path().join("any.pem").display().to_string();
    let serve = [
        "serve",
        "--listen",
        "0.0.0.0:0",
        "--tls-key",
        &any,
        "--tls-certificate",
        &any,
    ];
    let refused = run(&serve)?;
    assert_eq!(refused.status.code(), Some(64));
    let said = String::from_utf8(refused.stderr)?;
    assert!(said.contains("--public-url https://"), "{said}");
    Ok(())
}

#[tokio::test]
async fn the_one_file_runs_from_anywhere() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("kr");
    std::fs::copy(program(), &copy)?;
    let out = Command::new(&copy)
        .arg("--version")
        .env_clear()
        .current_dir("/")
        .output()?;
    assert!(out.status.success());
    // The pages are inside: a demo from the copy serves them.
    let data = folder.path().join("data");
    let mut child = Command::new(&copy)
        .args([
            "demo",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--data",
        ])
        .arg(&data)
        .env_clear()
        .current_dir("/")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()?;
    let mut line = String::new();
    let stdout = child.stdout.take().expect("piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)?;
    let ready: serde_json::Value = serde_json::from_str(&line)?;
    let page = reqwest::get(ready["url"].as_str().expect("url")).await?;
    let (status, text) = (page.status(), page.text().await?);
    child.kill()?;
    child.wait()?;
    assert!(
        status.is_success() && text.contains("<script"),
        "{status}: {text}"
    );
    Ok(())
}

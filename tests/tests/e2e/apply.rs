//! `keyreel keys apply`: the example of `examples/keys`, on a new installation with a Local Key
//! Manager beside it.
#![expect(
    clippy::indexing_slicing,
    reason = "what is not as expected ends a test, helpers included"
)]

use std::path::{Path, PathBuf};

use keyreel_tests::{keyreel, root};
use serde_json::Value;

use crate::keys::{Lkm, free_port};

/// A new installation, and a file to be applied to it.
struct Installation {
    folder: tempfile::TempDir,
    port: u16,
}

/// How a command ended: its code, its lines on stdout, its stderr.
type Ended = (Option<i32>, Vec<String>, String);

impl Installation {
    fn new() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        std::fs::write(
            folder.path().join("keyreel.toml"),
            "[storage]\ncatalogue = \"c.sqlite\"\nobjects = \"objects\"\ncache = \"cache\"\n\
             [keystore]\ndirectory = \"keystore\"\nmaster_key_file = \"master.key\"\n",
        )?;
        let new = Self {
            folder,
            port: free_port()?,
        };
        assert_eq!(new.run(&["keystore", "init"])?.0, Some(0));
        Ok(new)
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("keys.toml")
    }

    fn run(&self, arguments: &[&str]) -> anyhow::Result<Ended> {
        let out = keyreel()
            .args(arguments)
            .arg("--config")
            .arg(self.folder.path().join("keyreel.toml"))
            .output()?;
        let lines = String::from_utf8(out.stdout)?;
        let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
        let lines = lines.lines().map(str::to_owned).collect();
        Ok((out.status.code(), lines, stderr))
    }

    fn apply(&self, more: &[&str]) -> anyhow::Result<Ended> {
        let file = self.file();
        let origin = format!("http://127.0.0.1:{}", self.port);
        let file = file.to_str().unwrap_or_default();
        let arguments = ["keys", "apply", file, "--allow-origin", &origin];
        self.run(&[&arguments, more].concat())
    }

    /// The tenants, with the states and providers of their keys, and what the log has.
    fn state(&self) -> anyhow::Result<String> {
        let (_, tenants, _) = self.run(&["tenant", "list"])?;
        let mut state = tenants.clone();
        for line in tenants {
            let tenant: Value = serde_json::from_str(&line)?;
            let tenant = tenant["id"].as_str().unwrap_or_default();
            state.extend(self.run(&["keys", "list", "--tenant", tenant])?.1);
            state.extend(self.run(&["keys", "schedule", "--tenant", tenant])?.1);
        }
        state.extend(self.run(&["audit", "tail", "-n", "500"])?.1);
        Ok(state.join("\n"))
    }
}

/// The example, with what is the reader's to fill in.
fn example(lkm: &Lkm) -> anyhow::Result<String> {
    filled([
        &lkm.url,
        lkm.text("apiId")?,
        lkm.text("keypairId")?,
        lkm.text("publicKey")?,
    ])
}

fn filled([url, api_id, pair, public_key]: [&str; 4]) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(root().join("examples/keys/keys.toml"))?;
    let mut filled = text.clone();
    for (placeholder, real) in [
        (
            "https://keys.summit-telecom.example/key-management/v1/decrypt",
            url,
        ),
        ("keyreel-5f0c", api_id),
        ("0e37df36-4b8a-4f39-9d3c-3f5c9be7a001", pair),
        ("MII…", public_key),
    ] {
        anyhow::ensure!(filled.contains(placeholder), "{placeholder}");
        filled = filled.replace(placeholder, real);
    }
    Ok(filled)
}

#[test]
fn the_example_is_applied_once_and_then_there_is_nothing_to_change() -> anyhow::Result<()> {
    let here = Installation::new()?;
    let secret = here.folder.path().join("summit-telecom.api-key");
    // Nobody is there yet, and a dry run asks nobody.
    let nobody = format!("http://127.0.0.1:{}/decrypt", here.port);
    let pair = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff";
    std::fs::write(here.file(), filled([&nobody, "a", pair, "b"])?)?;
    std::fs::write(&secret, "any")?;
    let (code, plan, stderr) = here.apply(&["--dry-run"])?;
    assert_eq!((code, plan.len()), (Some(0), 5), "{stderr}");

    let lkm = Lkm::start(&here.folder.path().join("lkm"), here.port)?;
    let text = example(&lkm)?;
    std::fs::write(here.file(), &text)?;
    std::fs::write(&secret, format!("{}\n", lkm.text("apiKey")?))?;

    let empty = here.state()?;
    assert_eq!(empty, "", "and changes nothing");
    let (code, plan, stderr) = here.apply(&["--dry-run"])?;
    assert_eq!(code, Some(0), "{stderr}");
    let pair = lkm.text("keypairId")?;
    let expected = [
        "+ meridian-health: the tenant \"Meridian Health\", policy aes256, with its first key",
        "~ meridian-health: rotation disabled -> monthly",
        "+ summit-telecom: the tenant \"Summit Telecom\", policy compatible",
        "+ summit-telecom: key service lkm: apiId, padding, payloadHash, url, secret api-key",
        &format!("+ summit-telecom: the key pair {pair}"),
    ];
    assert_eq!(plan, expected);
    assert_eq!(here.state()?, empty, "a dry run changes nothing");

    let (code, done, stderr) = here.apply(&[])?;
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(done, expected, "the same plan");
    for line in expected {
        assert!(stderr.contains(&format!("done: {line}")), "{stderr}");
    }
    let (_, keys, _) = here.run(&["keys", "list", "--tenant", "summit-telecom"])?;
    let key: Value = serde_json::from_str(&keys[0])?;
    assert_eq!(
        (&key["id"], &key["state"]),
        (&pair.into(), &"current".into())
    );
    let (_, log, _) = here.run(&["audit", "tail", "-n", "500"])?;
    for action in [
        "tenant.added",
        "key.minted",
        "key.schedule.changed",
        "key.configuration.created",
        "key.registered",
    ] {
        let found = log.iter().find(|line| line.contains(action));
        let found = found.is_some_and(|line| line.contains("\"subject\":\"keyreel:command\""));
        assert!(found, "{action}: {log:#?}");
    }

    let applied = here.state()?;
    let (code, again, stderr) = here.apply(&[])?;
    assert_eq!((code, again.len()), (Some(0), 0), "{stderr}");
    assert!(stderr.contains("nothing to change"), "{stderr}");
    assert_eq!(here.state()?, applied);

    // Another secret is seen; one that the service refuses is not saved.
    std::fs::write(&secret, "another")?;
    let with_policy = text.replace("\nname = \"Summit Telecom\"", "\nrotation = \"disabled\"");
    let with_policy = with_policy.replace("rotation = \"monthly\"", "rotation = \"weekly\"");
    // In the file's order of names, so that something comes after the failure.
    let with_policy = with_policy.replace("meridian-health", "zenith");
    std::fs::write(here.file(), &with_policy)?;
    let (code, plan, stderr) = here.apply(&[])?;
    assert_eq!(code, Some(1), "{stderr}");
    assert_eq!(plan[0], "~ summit-telecom: key service lkm: secret api-key");
    assert!(
        stderr.contains("failed: ~ summit-telecom") && stderr.contains("not done: + zenith"),
        "{stderr}"
    );
    assert!(
        stderr.contains("left alone: the tenant meridian-health"),
        "{stderr}"
    );
    std::fs::write(&secret, lkm.text("apiKey")?)?;
    std::fs::write(here.file(), &text)?;
    let (code, plan, _) = here.apply(&[])?;
    assert_eq!((code, plan.len()), (Some(0), 0), "what was there stayed");
    Ok(())
}

#[test]
fn a_tenant_moves_to_another_provider_and_policy() -> anyhow::Result<()> {
    let here = Installation::new()?;
    let lkm = Lkm::start(&here.folder.path().join("lkm"), here.port)?;
    let own = example(&lkm)?;
    let secret = here.folder.path().join("summit-telecom.api-key");
    std::fs::write(secret, lkm.text("apiKey")?)?;
    let applied = |text: &str, expected: &[&str]| -> anyhow::Result<String> {
        std::fs::write(here.file(), text)?;
        let (code, done, stderr) = here.apply(&[])?;
        assert_eq!(code, Some(0), "{stderr}");
        assert_eq!(done, expected);
        let (code, again, second) = here.apply(&[])?;
        assert_eq!((code, again.len()), (Some(0), 0), "{second}");
        Ok(stderr)
    };
    // A tenant first, as `tenant add` makes one, and its own key later.
    applied(
        "[tenants.summit-telecom]\n",
        &["+ summit-telecom: the tenant \"summit-telecom\", policy compatible, with its first key"],
    )?;
    let only = own
        .split("# The private key stays")
        .nth(1)
        .unwrap_or_default();
    let only = format!("# The private key stays{only}");
    let pair = format!("+ summit-telecom: the key pair {}", lkm.text("keypairId")?);
    let service =
        "+ summit-telecom: key service lkm: apiId, padding, payloadHash, url, secret api-key";
    applied(&only, &[service, &pair])?;
    // The same service, said in another way.
    let hashed = only.replace("payloadHash = true", "bindRecording = true");
    let changed = "~ summit-telecom: key service lkm: bindRecording, payloadHash true -> (default)";
    applied(&hashed, &[changed])?;
    // Keyreel makes the keys, so the policy can follow.
    let kept = "[tenants.summit-telecom]\nrotation = \"weekly\"\npolicy = \"aes256\"\n\
                key_service.provider = \"managed\"\n";
    let stderr = applied(
        kept,
        &[
            "+ summit-telecom: key service managed",
            "~ summit-telecom: policy compatible -> aes256, with a new key",
            "~ summit-telecom: rotation disabled -> weekly",
        ],
    )?;
    assert!(
        stderr.contains("left alone: summit-telecom: the key service lkm"),
        "{stderr}"
    );
    let kept = kept.replace("aes256", "compatible");
    let back = "~ summit-telecom: policy aes256 -> compatible, with a new key";
    applied(&kept, &[back])?;
    // A pair that had its turn does not come back.
    std::fs::write(here.file(), &only)?;
    let (code, plan, stderr) = here.apply(&[])?;
    assert_eq!((code, plan.len()), (Some(64), 0), "{stderr}");
    assert!(stderr.contains("was registered before"), "{stderr}");
    Ok(())
}

#[test]
fn a_bad_file_is_refused_with_its_line_and_quotes_no_secret() -> anyhow::Result<()> {
    let here = Installation::new()?;
    let path = here.file();
    let service = "[tenants.acme.key_service]\nprovider = \"lkm\"\n\
                   key_pair = { id = \"x\", public_key = \"y\" }\n";
    let full =
        format!("{service}configuration = {{ url = \"https://k.example/\", apiId = \"a\" }}\n");
    let table = [
        (
            "[tenants.acme]\npolcy = \"aes256\"\n".to_owned(),
            2,
            "`policy`",
        ),
        (
            "[tenants.acme]\npolicy = \"aes\"\n".to_owned(),
            2,
            "`aes256`",
        ),
        (
            "[tenants.acme]\nrotation = \"hourly\"\n".to_owned(),
            2,
            "`weekly`",
        ),
        ("[tenants.\"a b\"]\n".to_owned(), 1, "a b"),
        (service.replace("lkm", "kms"), 2, "`aws-kms`"),
        (
            format!("{service}configuration.pading = \"x\"\n"),
            4,
            "`padding`",
        ),
        (service.to_owned(), 2, "`url`"),
        (
            format!("{full}secrets = {{ api = {{ env = \"X\" }} }}\n"),
            5,
            "`api-key`",
        ),
        (
            format!("{full}secrets.api-key = {{ env = \"KEYREEL_UNSET\" }}\n"),
            5,
            "KEYREEL_UNSET",
        ),
        (
            format!("{full}secrets.api-key = \"s3cret\"\n"),
            5,
            "{ file =",
        ),
        (format!("{full}secrets.api-key = 53\n"), 5, "{ file ="),
        (format!("{full}secrets = \"s3cret\"\n"), 5, "a table"),
        (full.replace("https", "http"), 2, "https://"),
        (
            format!("tenants.acme.policy = \"aes256\"\n{full}"),
            3,
            "policy aes256",
        ),
        (
            format!("tenants.acme.rotation = \"daily\"\n{full}"),
            3,
            "no key pairs",
        ),
    ];
    for (text, line, said) in table {
        std::fs::write(&path, &text)?;
        let (code, plan, stderr) = here.apply(&[])?;
        assert_eq!((code, plan.len()), (Some(64), 0), "{text}\n{stderr}");
        assert!(stderr.contains(said), "{text}\n{stderr}");
        let place = format!("{}:{line}: ", display(&path));
        assert!(stderr.contains(&place), "{text}\n{stderr}");
        assert!(!stderr.contains("s3cret"), "{stderr}");
    }
    assert_eq!(here.run(&["tenant", "list"])?.1.len(), 0);
    Ok(())
}

fn display(path: &Path) -> String {
    path.display().to_string()
}

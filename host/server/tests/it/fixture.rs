//! A server with a small library.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use keyreel_format::{
    ContentType, Dek, Identity, KeyBlock, PartName, ProviderId, RecordingId, Sealer, TenantId,
};
use keyreel_keys::{
    KeyProvider as _, Keyring, KeyringParts, KeyringSettings, Keystore, MetadataVault, Policy,
    Registrar, Vault, Wrapped, generate_master_key,
};
use keyreel_keys_testing::{LocalProvider, ManualClock};
use keyreel_library::audit_chain::AuditKey;
use keyreel_library::destruction::CertificateKey;
use keyreel_library::{
    AuditEvent, AuditQuery, Catalogue, Channel, Details, Media, Objects, Part, Recording, Role,
    SqliteCatalogue, Tenant, User,
};
use keyreel_server::accounts::{create_link, create_token, create_user};
use keyreel_server::settings::ListenSettings;
use keyreel_server::{
    AuditObserver, BuildInfo, GrantKey, Server, ServerParts, Settings, Shutdown, ShutdownHandle,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::client::{self, Answer};

/// When the tests take place.
pub(crate) const NOW_MS: u64 = 1_793_697_164_000;

/// A running server and all that it was made of.
pub(crate) struct Fixture {
    pub(crate) folder: TempDir,
    pub(crate) catalogue: Arc<SqliteCatalogue>,
    pub(crate) objects: Objects,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) provider: Arc<LocalProvider>,
    /// A provider whose keys are made by their owner.
    pub(crate) lkm: Arc<LocalProvider>,
    /// Another that makes them itself.
    pub(crate) kms: Arc<LocalProvider>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) shutdown: ShutdownHandle,
    pub(crate) serving: JoinHandle<()>,
    /// Tokens of "alpha", by role.
    pub(crate) agent: String,
    pub(crate) supervisor: String,
    pub(crate) admin_token: String,
    /// An agent of "beta".
    pub(crate) stranger: String,
    pub(crate) user: User,
    pub(crate) link: String,
}

pub(crate) const PASSWORD: &str = "correct horse battery";

pub(crate) fn tenant(id: &str) -> TenantId {
    TenantId::parse(id).unwrap()
}

pub(crate) fn recording_id(id: &str) -> RecordingId {
    RecordingId::parse(id).unwrap()
}

/// Plaintext in which every place is different.
pub(crate) fn plaintext(len: usize) -> Vec<u8> {
    (0..len as u64)
        .map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
        .collect()
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// A server whose settings `change` has changed.
    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("catalogue.db");
        let store = format!("file://{}", folder.path().join("objects").display());
        let objects = Objects::open(&store).unwrap();
        let clock = Arc::new(ManualClock::at(NOW_MS));
        let provider = Arc::new(LocalProvider::new());
        let lkm = LocalProvider::new()
            .without_minting()
            .with_secrets(&["api-key"]);
        let lkm = Arc::new(lkm);
        let kms = Arc::new(LocalProvider::new());
        let master = folder.path().join("master");
        generate_master_key(&master).unwrap();
        let keystore = Keystore::open_or_create(&folder.path().join("keystore"), &master).unwrap();
        let keystore = Arc::new(keystore);
        let ttl = KeyringSettings::default().dek_ttl;
        let metadata = Arc::new(MetadataVault::new(keystore.clone(), ttl));
        let url = format!("sqlite://{}", database.display());
        let catalogue = SqliteCatalogue::open_with(&url, metadata.clone()).await;
        let catalogue = Arc::new(catalogue.unwrap());
        let vault = Vault::new(keystore.clone(), catalogue.clone(), ttl);
        let vault = Arc::new(vault.with_metadata(metadata));
        let named = |name: &str| ProviderId::parse(name).unwrap();
        let local = ProviderId::parse("local").unwrap();
        let keyring = Arc::new(Keyring::new(KeyringParts {
            store: catalogue.clone(),
            providers: HashMap::from([
                (local.clone(), provider.clone() as _),
                (named("lkm"), lkm.clone() as _),
                (named("aws-kms"), kms.clone() as _),
            ]),
            observer: Arc::new(AuditObserver::new(catalogue.clone(), clock.clone())),
            clock: clock.clone(),
            settings: KeyringSettings::default(),
            vault: Some(vault.clone()),
        }));
        for id in ["alpha", "beta"] {
            let row = Tenant {
                id: tenant(id),
                name: id.to_uppercase(),
                policy: Policy::Aes256,
                provider: local.clone(),
                created_ms: NOW_MS,
            };
            keystore.create_root(&row.id).unwrap();
            catalogue.add_tenant(&row).await.unwrap();
            keyring.mint_kek(&row.id, &local, row.policy).await.unwrap();
        }
        let token = async |id: &str, role| {
            let roles = vec![(tenant(id), role)];
            let label = format!("token:{id}");
            let issued = create_token(&*catalogue, &*clock, &label, roles, None)
                .await
                .unwrap();
            issued.secret.to_string()
        };
        let agent = token("alpha", Role::Agent).await;
        let supervisor = token("alpha", Role::Supervisor).await;
        let admin_token = token("alpha", Role::Admin).await;
        let stranger = token("beta", Role::Agent).await;
        let roles = vec![(tenant("alpha"), Role::Agent)];
        let user = create_user(&*catalogue, "maya", Some(PASSWORD), roles)
            .await
            .unwrap();
        let link = create_link(&*catalogue, &*clock, &user, Duration::from_secs(3600))
            .await
            .unwrap();
        let mut settings = Settings {
            server: ListenSettings {
                listen: SocketAddr::from(([127, 0, 0, 1], 0)),
                admin_listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
                ..ListenSettings::default()
            },
            ..Settings::default()
        };
        settings.playback.bare_grants = true;
        settings.shutdown.drain_seconds = 5;
        change(&mut settings);
        let bound = Server::bind(ServerParts {
            catalogue: catalogue.clone(),
            objects: objects.clone(),
            keyring: keyring.clone(),
            registrar: Some(Registrar::new(&keyring, vault)),
            clock: clock.clone(),
            grant_key: GrantKey::new(&[7; 32]),
            certificate_key: CertificateKey::new(AuditKey::from_seed(&[8; 32]).unwrap()),
            settings,
            build: BuildInfo {
                version: "0.0.0",
                commit: None,
            },
            providers: HashMap::from([(local, provider.describe().clone())]),
            checks: Vec::new(),
        })
        .await
        .unwrap();
        let (shutdown, until) = Shutdown::manual();
        let addresses = bound.addresses().clone();
        let serving = tokio::spawn(bound.serve(until));
        Self {
            folder,
            catalogue,
            objects,
            keyring,
            provider,
            lkm,
            kms,
            clock,
            address: addresses.public,
            admin: addresses.admin.unwrap(),
            shutdown,
            serving,
            agent,
            supervisor,
            admin_token,
            stranger,
            user,
            link: link.secret.to_string(),
        }
    }

    /// Seals a recording with these parts and adds it to the catalogue.
    pub(crate) async fn add(&self, of: &str, id: &str, parts: &[(&str, &str, &[u8])]) -> Recording {
        let details = Details {
            direction: Some("inbound".to_owned()),
            queue: Some("Billing".to_owned()),
            channels: vec![Channel {
                channel: 0,
                role: "agent".to_owned(),
                name: Some("Maya Chen".to_owned()),
                address: None,
            }],
            ..Details::default()
        };
        self.add_with(of, id, parts, details).await
    }

    /// The same, with what is known of it.
    pub(crate) async fn add_with(
        &self,
        of: &str,
        id: &str,
        parts: &[(&str, &str, &[u8])],
        details: Details,
    ) -> Recording {
        let (of, id) = (tenant(of), recording_id(id));
        let dek = Dek::generate();
        let wrapped = self.keyring.wrap(&of, &id, &dek).await.unwrap();
        let mut rows = Vec::new();
        for part in parts {
            rows.push(self.put(&of, &id, part, &dek, &wrapped).await);
        }
        let recording = Recording {
            id,
            tenant: of,
            conversation_id: "c-1".to_owned(),
            media: Media::Call,
            start_ms: NOW_MS - 3_600_000,
            duration_ms: 61_000,
            provider: wrapped.provider,
            kek: wrapped.kek,
            wrap_algorithm: wrapped.algorithm.name().to_owned(),
            recovery: wrapped.recovery.clone(),
            generation: 0,
            parts: rows,
            details,
        };
        self.catalogue.add_recording(&recording).await.unwrap();
        recording
    }

    /// Seals one object, in the place of whatever lies there.
    pub(crate) async fn put(
        &self,
        of: &TenantId,
        id: &RecordingId,
        (name, content_type, plaintext): &(&str, &str, &[u8]),
        dek: &Dek,
        wrapped: &Wrapped,
    ) -> Part {
        let identity = Identity {
            object_id: Identity::new_object_id().unwrap(),
            tenant: of.clone(),
            recording: id.clone(),
            part: PartName::parse(name).unwrap(),
            content_type: ContentType::parse(content_type).unwrap(),
            created_ms: NOW_MS - 60_000,
        };
        let key_block = KeyBlock {
            generation: 0,
            recipients: wrapped.recipients.clone(),
        };
        let (slot, prefix, mut sealer) = Sealer::new(&identity, &key_block, dek).unwrap();
        let mut object = BytesMut::from(&slot[..]);
        object.extend_from_slice(&prefix);
        sealer.push(plaintext, &mut object).unwrap();
        sealer.finish(&mut object).unwrap();
        let path = format!("{of}/{id}/{name}.krc");
        let version = self.objects.put(&path, object.freeze()).await.unwrap();
        Part {
            name: identity.part,
            content_type: identity.content_type,
            object: path,
            etag: version.etag,
            body_prefix: Some(prefix),
            sealed_len: version.len,
            plaintext_len: plaintext.len() as u64,
        }
    }

    /// Changes the catalogue behind the server's back.
    pub(crate) async fn sql(&self, statement: impl Into<String>) {
        let statement = sqlx::AssertSqlSafe(statement.into());
        let path = self.folder.path().join("catalogue.db");
        let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", path.display())).await;
        let pool = pool.unwrap();
        sqlx::query(statement).execute(&pool).await.unwrap();
        pool.close().await;
    }

    /// A call of `len` bytes, of tenant "alpha".
    pub(crate) async fn add_call(&self, id: &str, len: usize) -> Vec<u8> {
        let bytes = plaintext(len);
        self.add("alpha", id, &[("media", "audio/wav", &bytes)])
            .await;
        bytes
    }

    /// The file of a part of a recording of "alpha".
    pub(crate) fn object(&self, id: &str, part: &str) -> std::path::PathBuf {
        self.folder
            .path()
            .join("objects/alpha")
            .join(id)
            .join(format!("{part}.krc"))
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        client::request(self.address, method, path, headers, body).await
    }

    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", path, headers, None).await
    }

    /// With a bearer token.
    pub(crate) async fn as_holder(&self, token: &str, method: &str, path: &str) -> Answer {
        self.send(
            method,
            path,
            &[("Authorization", &format!("Bearer {token}"))],
            None,
        )
        .await
    }

    /// The media URL that a token gets for a recording.
    pub(crate) async fn media_uri(&self, token: &str, id: &str) -> String {
        let answer = self
            .as_holder(token, "POST", &format!("/api/v1/recordings/{id}/playback"))
            .await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["mediaUri"].as_str().unwrap().to_owned()
    }

    /// Signs in by link and gives the cookie.
    pub(crate) async fn session(&self) -> String {
        let body = serde_json::json!({"link": self.link});
        let answer = self.send("POST", "/api/v1/session", &[], Some(&body)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let cookie = answer.header("set-cookie").unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    /// What the audit log says, oldest first.
    pub(crate) async fn audit(&self) -> Vec<AuditEvent> {
        let query = AuditQuery {
            tenants: vec![tenant("alpha"), tenant("beta")],
            limit: 200,
            ..AuditQuery::default()
        };
        let page = self.catalogue.audit(&query).await.unwrap();
        page.items
            .into_iter()
            .rev()
            .map(|record| record.event)
            .collect()
    }

    /// How many events have an outcome, of any tenant or none.
    pub(crate) async fn audited(&self, outcome: &str) -> i64 {
        let path = self.folder.path().join("catalogue.db");
        let url = format!("sqlite://{}", path.display());
        let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
        let count = sqlx::query_scalar("SELECT count(*) FROM audit WHERE outcome = ?")
            .bind(outcome)
            .fetch_one(&pool)
            .await
            .unwrap();
        pool.close().await;
        count
    }

    pub(crate) async fn actions(&self) -> Vec<String> {
        self.audit()
            .await
            .into_iter()
            .map(|event| event.action)
            .collect()
    }

    /// Makes events of this action unwritable.
    pub(crate) async fn break_audit_of(&self, action: &str) {
        let statement = format!(
            "CREATE TRIGGER \"full {action}\" BEFORE INSERT ON audit WHEN NEW.action = '{action}' \
             BEGIN SELECT RAISE(ABORT, 'full'); END"
        );
        self.sql(statement).await;
    }

    /// Makes the audit log unwritable: a full disk, as far as the server can tell.
    pub(crate) async fn break_audit(&self) {
        self.sql(
            "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END",
        )
        .await;
    }
}

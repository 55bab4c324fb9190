//! A server in this process, with the three providers as shipped, key services behind fronts, and
//! everything that is logged.
//! Not for: the program around it (see the end-to-end tests).

mod logs;
mod plugins;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use keyreel_format::{
    ContentType, Dek, Identity, KeyBlock, PartName, ProviderId, Recipient, RecordingId, Sealer,
    TenantId,
};
use keyreel_keys::{
    Asker, KekStore as _, KeyConfiguration, Keyring, KeyringParts, KeyringSettings, Keystore,
    MetadataVault, NewConfiguration, OwnersKey, Policy, Registrar, SystemClock, Vault,
    generate_master_key,
};
use keyreel_kms_stand_in::KmsStandIn;
use keyreel_library::audit_chain::AuditKey;
use keyreel_library::destruction::CertificateKey;
use keyreel_library::{
    AuditEvent, AuditQuery, Catalogue, Details, Media, Objects, Part, Recording, Role,
    SqliteCatalogue, Tenant,
};
use keyreel_lkm::{KeyPairs, Padding};
use keyreel_sandbox::AwsSigner;
use keyreel_server::accounts::create_token;
use keyreel_server::settings::ListenSettings;
use keyreel_server::{
    AuditObserver, BuildInfo, GrantKey, Server, ServerParts, Settings, Shutdown, ShutdownHandle,
};
use keyreel_tests::JsonResponse as _;
use tempfile::TempDir;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use zeroize::Zeroizing;

use crate::front::{Front, closed, hung};

pub(crate) use logs::{keep_logs, logged};
pub(crate) use plugins::plugin;
use plugins::providers;

/// Longer than any answer here takes, and short enough to wait for, forty times.
pub(crate) const UNWRAP_LIMIT: Duration = Duration::from_secs(2);

/// The tenants, by provider.
pub(crate) const MANAGED: &str = "managed-co";
pub(crate) const MANAGED_AES256: &str = "managed-aes-co";
pub(crate) const LKM: &str = "lkm-co";
pub(crate) const KMS: &str = "kms-co";

/// Who measures, measures alone.
static ALONE: RwLock<()> = RwLock::const_new(());

/// Whether others may run beside.
pub(crate) enum Turn {
    #[expect(dead_code, reason = "held, not read")]
    Beside(RwLockReadGuard<'static, ()>),
    #[expect(dead_code, reason = "held, not read")]
    Alone(RwLockWriteGuard<'static, ()>),
}

impl Turn {
    pub(crate) async fn beside() -> Self {
        Self::Beside(ALONE.read().await)
    }
}

/// Everything.
pub(crate) struct Rig {
    pub(crate) folder: TempDir,
    pub(crate) catalogue: Arc<SqliteCatalogue>,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) lkm: Service,
    pub(crate) kms: Service,
    pub(crate) lkm_pairs: Arc<KeyPairs>,
    pub(crate) lkm_pair: uuid::Uuid,
    objects: Objects,
    url: String,
    tokens: HashMap<&'static str, String>,
    secrets: Mutex<Vec<(String, Vec<u8>)>>,
    http: reqwest::Client,
    // What lives as long as the rig.
    _turn: Turn,
    _kms: KmsStandIn,
    _shutdown: ShutdownHandle,
    _hung: (Vec<tokio::net::TcpStream>, tokio::net::TcpListener),
}

/// A key service behind its front, and the tenant's configuration of it.
pub(crate) struct Service {
    pub(crate) front: Front,
    pub(crate) configuration: KeyConfiguration,
    /// Where nobody listens, where connections hang, where TLS is spoken to what speaks none.
    pub(crate) closed: SocketAddr,
    pub(crate) hung: SocketAddr,
}

/// What a listener got.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) status: u16,
    /// The problem's code, where it is one.
    pub(crate) code: Option<String>,
    pub(crate) retry_after: Option<u64>,
    pub(crate) body: Vec<u8>,
}

impl Played {
    async fn of(answer: reqwest::Response) -> Self {
        let status = answer.status().as_u16();
        let retry_after = answer
            .headers()
            .get("retry-after")
            .map(|value| value.to_str().unwrap().parse().unwrap());
        let body = answer.bytes().await.unwrap().to_vec();
        let code = (status >= 400).then(|| {
            let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(problem["status"], status);
            problem["code"].as_str().unwrap().to_owned()
        });
        Self {
            status,
            code,
            retry_after,
            body,
        }
    }
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::in_turn(Turn::beside().await, UNWRAP_LIMIT).await
    }

    /// With time for a second try, which is not begun late.
    pub(crate) async fn patient() -> Self {
        Self::in_turn(Turn::beside().await, Duration::from_secs(5)).await
    }

    /// How long an unwrap may take while something is measured.
    pub(crate) const ALONE_LIMIT: Duration = Duration::from_secs(60);

    /// With no other test of this program running, and a long time for an unwrap.
    pub(crate) async fn alone() -> Self {
        Self::in_turn(Turn::Alone(ALONE.write().await), Self::ALONE_LIMIT).await
    }

    async fn in_turn(turn: Turn, unwrap_limit: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock);
        let url = format!("sqlite://{}", folder.path().join("catalogue.db").display());
        let objects = folder.path().join("objects");
        std::fs::create_dir(&objects).unwrap();
        let objects = Objects::open(&format!("file://{}", objects.display())).unwrap();
        let master = folder.path().join("master.key");
        generate_master_key(&master).unwrap();
        let keystore = Keystore::open_or_create(&folder.path().join("keystore"), &master);
        let keystore = Arc::new(keystore.unwrap());
        let mut settings = KeyringSettings::default();
        settings.unwrap_limit = unwrap_limit;
        // The breaker has tests of its own; here every fault is to be seen.
        settings.gate.failures = u32::MAX;
        let metadata = Arc::new(MetadataVault::new(keystore.clone(), settings.dek_ttl));
        let catalogue = SqliteCatalogue::open_with(&url, metadata.clone()).await;
        let catalogue = Arc::new(catalogue.unwrap());
        let vault = Vault::new(keystore.clone(), catalogue.clone(), settings.dek_ttl);
        let vault = Arc::new(vault.with_metadata(metadata));

        let (hung_at, filling, listener) = hung().await;
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let kms_folder = folder.path().join("kms");
        std::fs::create_dir(&kms_folder).unwrap();
        let kms = KmsStandIn::bind(&kms_folder, loopback, clock.clone()).await;
        let kms = kms.unwrap();
        let upstream = kms.url.strip_prefix("http://").unwrap().parse().unwrap();
        let kms_front = Front::before(upstream).await;
        let mut lkm_settings = keyreel_lkm::Settings::new(&folder.path().join("lkm"));
        // Its name is the front's.
        let lkm_front = Front::new().await;
        lkm_settings.public_url = Some(format!("http://{}", lkm_front.address).parse().unwrap());
        let pairs = KeyPairs::create(&lkm_settings.data, &lkm_settings.key_file).unwrap();
        let pair = pairs.add_pair(Padding::OaepSha256, &*clock).unwrap();
        let credential = pairs.add_credential(None, &*clock).unwrap();
        let lkm = keyreel_lkm::Server::bind(lkm_settings, clock.clone())
            .await
            .unwrap();
        lkm_front.stand_before(lkm.address());
        let lkm_pairs = lkm.pairs();
        tokio::spawn(lkm.serve(std::future::pending()));

        let closed_at = closed().await;
        let credentials = Credentials::new(
            kms.credentials.access_key_id.clone(),
            kms.credentials.secret_access_key.clone(),
            None,
            None,
            "test",
        );
        let signer = AwsSigner::new(SharedCredentialsProvider::new(credentials));
        let providers = providers(
            unwrap_limit.max(settings.mint_limit),
            &vault,
            signer,
            &[kms_front.address, lkm_front.address, closed_at, hung_at],
        )
        .await;
        let descriptions = providers
            .iter()
            .map(|(id, provider)| (id.clone(), provider.describe().clone()))
            .collect();
        let keyring = Arc::new(Keyring::new(KeyringParts {
            store: catalogue.clone(),
            providers,
            observer: Arc::new(AuditObserver::new(catalogue.clone(), clock.clone())),
            clock: clock.clone(),
            settings,
            vault: Some(vault.clone()),
        }));
        let registrar = Registrar::new(&keyring, vault.clone());

        let mut tokens = HashMap::new();
        for (id, policy) in [
            (MANAGED, Policy::Compatible),
            (MANAGED_AES256, Policy::Aes256),
            (LKM, Policy::Compatible),
            (KMS, Policy::Compatible),
        ] {
            keystore.create_root(&tenant(id)).unwrap();
            let row = Tenant {
                id: tenant(id),
                name: id.to_owned(),
                policy,
                provider: provider("managed"),
                created_ms: 0,
            };
            catalogue.add_tenant(&row).await.unwrap();
            let roles = vec![(row.id, Role::Agent)];
            let token = create_token(&*catalogue, &*clock, id, roles, None).await;
            tokens.insert(id, token.unwrap().secret.to_string());
        }
        for id in [MANAGED, MANAGED_AES256] {
            let policy = if id == MANAGED {
                Policy::Compatible
            } else {
                Policy::Aes256
            };
            let (tenant, managed) = (tenant(id), provider("managed"));
            keyring.mint_kek(&tenant, &managed, policy).await.unwrap();
        }
        let asker = Asker {
            subject: "administrator".to_owned(),
            request_id: "rig".to_owned(),
        };
        let new = NewConfiguration {
            provider: provider("aws-kms"),
            json: format!(
                r#"{{"keyArn":"{}","endpoint":"http://{}"}}"#,
                kms.alias_arn, kms_front.address
            ),
            secrets: BTreeMap::new(),
        };
        let registered = registrar
            .create(&tenant(KMS), Policy::Compatible, new, &asker)
            .await
            .unwrap();
        let kms_service = Service {
            front: kms_front,
            configuration: registered.configuration,
            closed: closed_at,
            hung: hung_at,
        };
        let new = NewConfiguration {
            provider: provider("lkm"),
            json: format!(
                r#"{{"url":"http://{}{}","apiId":"{}","padding":"oaep-sha256"}}"#,
                lkm_front.address,
                keyreel_lkm::DECRYPT_PATH,
                credential.id
            ),
            secrets: BTreeMap::from([(
                "api-key".to_owned(),
                Zeroizing::new(credential.key.as_bytes().to_vec()),
            )]),
        };
        let registered = registrar
            .create(&tenant(LKM), Policy::Compatible, new, &asker)
            .await
            .unwrap();
        let owners = OwnersKey {
            configuration: registered.configuration.id.clone(),
            id: pair.id.to_string(),
            public_key: pair.public_key.clone(),
        };
        registrar
            .register(&tenant(LKM), Policy::Compatible, &owners, &asker)
            .await
            .unwrap();
        let lkm_service = Service {
            front: lkm_front,
            configuration: registered.configuration,
            closed: closed_at,
            hung: hung_at,
        };

        let mut settings = Settings {
            server: ListenSettings {
                listen: loopback,
                admin_listen: None,
                ..ListenSettings::default()
            },
            ..Settings::default()
        };
        settings.playback.bare_grants = true;
        let bound = Server::bind(ServerParts {
            catalogue: catalogue.clone(),
            objects: objects.clone(),
            keyring: keyring.clone(),
            registrar: Some(registrar),
            clock: clock.clone(),
            grant_key: GrantKey::new(&[7; 32]),
            certificate_key: CertificateKey::new(AuditKey::from_seed(&[8; 32]).unwrap()),
            settings,
            build: BuildInfo {
                version: "0.0.0",
                commit: None,
            },
            providers: descriptions,
            checks: Vec::new(),
        })
        .await
        .unwrap();
        let url = format!("http://{}", bound.addresses().public);
        let (shutdown, until) = Shutdown::manual();
        tokio::spawn(bound.serve(until));

        let secrets = vec![
            (
                "the AWS secret".to_owned(),
                kms.credentials.secret_access_key.clone().into_bytes(),
            ),
            (
                "the Hawk key".to_owned(),
                credential.key.as_bytes().to_vec(),
            ),
        ];
        Self {
            folder,
            catalogue,
            keyring,
            lkm: lkm_service,
            kms: kms_service,
            lkm_pairs,
            lkm_pair: pair.id,
            objects,
            url,
            tokens,
            secrets: Mutex::new(secrets),
            http: reqwest::Client::new(),
            _turn: turn,
            _kms: kms,
            _shutdown: shutdown,
            _hung: (filling, listener),
        }
    }

    /// Points a tenant's configuration elsewhere, as it stands in the catalogue.
    pub(crate) async fn reconfigure(&self, service: &Service, from: &str, to: &str) {
        let configuration = &service.configuration;
        assert!(configuration.config_json.contains(from), "{from}");
        let changed = KeyConfiguration {
            config_json: configuration.config_json.replace(from, to),
            ..configuration.clone()
        };
        self.catalogue
            .put_key_configuration(&changed)
            .await
            .unwrap();
        self.keyring
            .reconfigured(&configuration.tenant, &configuration.id);
    }

    /// A recording of the tenant, sealed under its current KEK.
    pub(crate) async fn recording(&self, of: &str) -> (RecordingId, Vec<u8>) {
        let id = new_recording();
        let dek = Dek::generate();
        let wrapped = self.keyring.wrap(&tenant(of), &id, &dek).await.unwrap();
        let plaintext = self.add(of, &id, wrapped.recipients, &dek).await;
        (id, plaintext)
    }

    /// A recording with these recipients, whatever they are.
    pub(crate) async fn add(
        &self,
        of: &str,
        id: &RecordingId,
        recipients: Vec<Recipient>,
        dek: &Dek,
    ) -> Vec<u8> {
        self.remember("a DEK", dek.expose());
        let plaintext: Vec<u8> = (0..40_000_u32)
            .map(|n| (n * 7 / 3).to_le_bytes()[0])
            .collect();
        let identity = Identity {
            object_id: Identity::new_object_id().unwrap(),
            tenant: tenant(of),
            recording: id.clone(),
            part: PartName::parse("media").unwrap(),
            content_type: ContentType::parse("audio/wav").unwrap(),
            created_ms: 1_793_697_164_000,
        };
        let kek = recipients[0].clone();
        let key_block = KeyBlock {
            generation: 0,
            recipients,
        };
        let (slot, prefix, mut sealer) = Sealer::new(&identity, &key_block, dek).unwrap();
        let mut object = BytesMut::from(&slot[..]);
        object.extend_from_slice(&prefix);
        sealer.push(&plaintext, &mut object).unwrap();
        sealer.finish(&mut object).unwrap();
        let path = format!("{of}/{id}/media.krc");
        let version = self.objects.put(&path, object.freeze()).await.unwrap();
        let recording = Recording {
            id: id.clone(),
            tenant: tenant(of),
            conversation_id: format!("conversation of {id}"),
            media: Media::Call,
            start_ms: 1_793_697_164_000,
            duration_ms: 5000,
            provider: kek.provider,
            kek: kek.kek,
            wrap_algorithm: kek.algorithm.name().to_owned(),
            recovery: None,
            generation: 0,
            parts: vec![Part {
                name: identity.part,
                content_type: identity.content_type,
                object: path,
                etag: version.etag,
                body_prefix: Some(prefix),
                sealed_len: version.len,
                plaintext_len: plaintext.len() as u64,
            }],
            details: Details::default(),
        };
        self.catalogue.add_recording(&recording).await.unwrap();
        plaintext
    }

    /// Plays it, as an agent of the tenant.
    pub(crate) async fn play(&self, of: &str, id: &RecordingId) -> Played {
        let url = format!("{}/api/v1/recordings/{id}/playback", self.url);
        let token = &self.tokens[of];
        let answer = self.http.post(url).bearer_auth(token).send().await.unwrap();
        if answer.status() != 201 {
            return Played::of(answer).await;
        }
        let playback: serde_json::Value = answer.json().await.unwrap();
        let uri = format!("{}{}", self.url, playback["mediaUri"].as_str().unwrap());
        let answer = self.http.get(uri).bearer_auth(token).send().await.unwrap();
        Played::of(answer).await
    }

    /// What the audit log has of a recording, oldest first, without the plays' own lines.
    pub(crate) async fn audit(&self, of: &str, id: &RecordingId) -> Vec<AuditEvent> {
        let query = AuditQuery {
            tenants: vec![tenant(of)],
            recording: Some(id.clone()),
            limit: 200,
            ..AuditQuery::default()
        };
        let page = self.catalogue.audit(&query).await.unwrap();
        let mut events: Vec<_> = page.items.into_iter().map(|record| record.event).collect();
        events.reverse();
        events.retain(|event| {
            event.action.starts_with("key.") || event.action.starts_with("integrity")
        });
        events
    }

    /// Changes the catalogue behind the server's back.
    pub(crate) async fn sql(&self, statement: &str) {
        let path = self.folder.path().join("catalogue.db");
        let pool = sqlx::SqlitePool::connect(&format!("sqlite://{}", path.display())).await;
        let pool = pool.unwrap();
        let statement = sqlx::AssertSqlSafe(statement.to_owned());
        sqlx::query(statement).execute(&pool).await.unwrap();
        pool.close().await;
    }

    /// Something that no log may hold.
    pub(crate) fn remember(&self, what: &str, bytes: &[u8]) {
        self.secrets
            .lock()
            .unwrap()
            .push((what.to_owned(), bytes.to_vec()));
    }

    /// No secret of this rig is in what was logged or kept for the record, in any usual spelling.
    pub(crate) async fn assert_no_secret_was_told(&self) {
        let mut told = logged();
        assert!(told.len() > 10_000, "hardly anything was logged");
        let mut query = AuditQuery {
            tenants: [MANAGED, MANAGED_AES256, LKM, KMS].map(tenant).to_vec(),
            limit: 200,
            ..AuditQuery::default()
        };
        loop {
            let page = self.catalogue.audit(&query).await.unwrap();
            for event in page.items {
                told.push_str(&format!("{event:?}\n"));
            }
            query.cursor = page.next;
            if query.cursor.is_none() {
                break;
            }
        }
        let told = told.into_bytes();
        for (what, secret) in self.secrets.lock().unwrap().iter() {
            let spellings = [
                secret.clone(),
                hex::encode(secret).into_bytes(),
                STANDARD.encode(secret).into_bytes(),
                format!("{secret:?}").into_bytes(),
            ];
            for spelling in spellings {
                let found = told
                    .windows(spelling.len())
                    .any(|window| window == spelling);
                assert!(!found, "{what} is in a log");
            }
        }
    }
}

pub(crate) fn tenant(id: &str) -> TenantId {
    TenantId::parse(id).unwrap()
}

pub(crate) fn provider(id: &str) -> ProviderId {
    ProviderId::parse(id).unwrap()
}

pub(crate) fn new_recording() -> RecordingId {
    RecordingId::parse(&uuid::Uuid::new_v4().to_string()).unwrap()
}

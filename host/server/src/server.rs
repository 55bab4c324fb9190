//! The server put together: parts in, addresses out, requests served until it is told to end.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware;
use futures::StreamExt as _;
use keyreel_format::ProviderId;
use keyreel_keys::{Clock, Keyring, ProviderDescription, Registrar};
use keyreel_library::destruction::CertificateKey;
use keyreel_library::{Catalogue, Objects};
use keyreel_net::{Acceptor, TlsError};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::admin::{self, ReadyCheck};
use crate::audit::plays::{Ending, Play};
use crate::connection::Accepting;
use crate::grants::GrantKey;
use crate::metrics::Metrics;
use crate::problem::{Code, Problem};
use crate::request::observe;
use crate::settings::{InvalidSetting, Settings};
use crate::shutdown::{Phase, Shutdown};
use crate::state::{App, Shared};
use crate::tls;
use crate::{api, media, pages, rotation};

/// What a server is made of.
pub struct ServerParts {
    /// What recordings there are, who may hear them.
    pub catalogue: Arc<dyn Catalogue>,
    /// Where they lie.
    pub objects: Objects,
    /// Their keys. Give it an [`crate::AuditObserver`].
    pub keyring: Arc<Keyring>,
    /// Registers key services and keys; without it nothing can be registered.
    pub registrar: Option<Registrar>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Signs playback grants. The same on every node.
    pub grant_key: GrantKey,
    /// Signs certificates of destruction. The same on every node.
    pub certificate_key: CertificateKey,
    /// What it was told.
    pub settings: Settings,
    /// Which build it is.
    pub build: BuildInfo,
    /// What the installed providers say of themselves, for people to read.
    pub providers: HashMap<ProviderId, ProviderDescription>,
    /// What else has to work: keystore, plugins. Catalogue and objects are asked anyway.
    pub checks: Vec<Arc<dyn ReadyCheck>>,
}

/// Which build this is.
#[derive(Debug, Clone, Copy)]
pub struct BuildInfo {
    /// "0.1.0".
    pub version: &'static str,
    /// The commit it was built from, if known.
    pub commit: Option<&'static str>,
}

/// The server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A setting is out of its range.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// TLS cannot be had as configured.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Puts a server together.
pub struct Server;

/// A server that listens, and answers once it is served.
pub struct BoundServer {
    app: App,
    listener: TcpListener,
    admin: Option<TcpListener>,
    tls: Option<Acceptor>,
    addresses: Addresses,
    checks: Vec<Arc<dyn ReadyCheck>>,
    metrics: Arc<Metrics>,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// Pages, API and media.
    pub public: SocketAddr,
    /// Health and metrics.
    pub admin: Option<SocketAddr>,
    /// "http://127.0.0.1:8080", or the public URL where one is set.
    pub url: String,
}

impl Server {
    /// Binds the addresses of the settings.
    ///
    /// # Errors
    /// An address is taken, or TLS cannot be had as configured.
    pub async fn bind(mut parts: ServerParts) -> Result<BoundServer, ServerError> {
        let settings = &parts.settings;
        settings.check()?;
        #[cfg(unix)]
        crate::descriptors::raise(settings.limits.connections);
        let listener = listen(settings.server.listen).await?;
        let admin = match settings.server.admin_listen {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let tls = settings.tls.as_ref().map(tls::acceptor).transpose()?;
        let local = |listener: &TcpListener, asked| listener.local_addr().unwrap_or(asked);
        let public = local(&listener, settings.server.listen);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = match &settings.server.public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => format!("{scheme}://{public}"),
        };
        let addresses = Addresses {
            public,
            admin: admin.as_ref().map(|listener| local(listener, public)),
            url,
        };
        let checks = std::mem::take(&mut parts.checks);
        let metrics = Arc::new(Metrics::new());
        let app = Arc::new(Shared::new(parts, metrics.clone()));
        Ok(BoundServer {
            app,
            listener,
            admin,
            tls,
            addresses,
            checks,
            metrics,
        })
    }
}

impl BoundServer {
    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Answers requests until `shutdown` says otherwise and the last stream has ended.
    pub async fn serve(self, mut shutdown: Shutdown) {
        let settings = self.app.settings().clone();
        let (phase, phases) = watch::channel(Phase::Serving);
        if let Some(listener) = self.admin {
            let admin = admin::router(self.app.clone(), self.checks, phases.clone());
            let mut until = phases.clone();
            tokio::spawn(async move {
                // It answers to the end, so that whoever watches sees the drain.
                let end = async move { drop(until.wait_for(|phase| *phase >= Phase::Cut).await) };
                let _ = axum::serve(listener, admin)
                    .with_graceful_shutdown(end)
                    .await;
            });
        }
        let watching = tokio::spawn(watch_plays(self.app.clone()));
        let purging = tokio::spawn(watch_purges(self.app.clone()));
        let rotations = self.app.rotations().clone();
        let mut rotating = tokio::spawn(rotation::run(rotations, phases.clone()));
        let rewrapper = self.app.rewrapper().clone();
        let rewrapping = tokio::spawn(async move { rewrapper.work().await });
        let destroyer = self.app.destroyer().clone();
        let destroying = tokio::spawn(async move { destroyer.work().await });
        let forgetting = tokio::spawn(forget_with_others(self.app.clone()));
        let accepting = Accepting {
            listener: self.listener,
            tls: self.tls,
            router: router(self.app.clone()),
            settings: settings.server.clone(),
            limits: settings.limits.clone(),
            metrics: self.metrics,
            phase: phases,
        };
        let mut accepting = tokio::spawn(accepting.run());
        shutdown.drain().await;
        tracing::info!("shutting down");
        phase.send_replace(Phase::Notice);
        let notice = settings.shutdown.notice();
        tokio::select! {
            () = tokio::time::sleep(notice) => {}
            () = shutdown.cut() => {}
        }
        phase.send_replace(Phase::Draining);
        let drained = tokio::select! {
            _ = &mut accepting => true,
            () = tokio::time::sleep(settings.shutdown.drain()) => false,
            () = shutdown.cut() => false,
        };
        if !drained {
            tracing::warn!("cutting the streams that are still open");
            phase.send_replace(Phase::Cut);
            let _ = tokio::time::timeout(CUT_LIMIT, &mut accepting).await;
        }
        watching.abort();
        purging.abort();
        // What is under way has had the drain to end. What is cut off is met by whoever comes next.
        if tokio::time::timeout(CUT_LIMIT, &mut rotating)
            .await
            .is_err()
        {
            rotating.abort();
        }
        // Wherever it stands: another node goes on with it, or this one when it is back.
        rewrapping.abort();
        destroying.abort();
        forgetting.abort();
        self.app.plays().end(Ending::All).await;
        phase.send_replace(Phase::Cut);
        // What is pending goes into the database's one file: that is what gets copied meanwhile.
        self.app.catalogue().close().await;
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ServerError::Listen { address, source })
}

/// All routes.
fn router(app: App) -> Router {
    let limits = &app.settings().limits;
    api::routes(limits)
        .merge(media::routes(limits))
        .merge(pages::routes())
        .fallback(async || Problem::new(Code::NotFound, "There is nothing here."))
        .method_not_allowed_fallback(async || {
            Problem::new(
                Code::MethodNotAllowed,
                "This path does not take this method.",
            )
        })
        .layer(middleware::from_fn_with_state(app.clone(), observe))
        .with_state(app)
}

/// Cuts streams whose keys were purged or whose grants are over, and lets go of what was derived
/// from keys that are gone. Waits for nothing else: a purge is felt at once.
async fn watch_purges(app: App) {
    loop {
        tokio::time::sleep(WATCH_EVERY).await;
        let now_ms = app.clock().now_ms();
        for play in app.plays().streaming() {
            play.cut_purged();
            if play.grant().is_over(now_ms) {
                play.cut();
            }
        }
        app.library().forget_keys().await;
    }
}

/// Forgets a tenant's keys when another process, a node or a command, says that all are to.
async fn forget_with_others(app: App) {
    let mut last = None;
    loop {
        match app.catalogue().purges_after(last).await {
            Ok((seq, tenants)) => {
                for tenant in tenants {
                    app.keyring().purge(&tenant);
                }
                last = Some(seq);
            }
            Err(error) => tracing::warn!(%error, "no word of purges from the catalogue"),
        }
        tokio::time::sleep(HEAR_EVERY).await;
    }
}

/// Cuts streams whose listeners may no longer listen, and ends plays.
async fn watch_plays(app: App) {
    loop {
        tokio::time::sleep(CHECK_EVERY).await;
        let mut by_credential = HashMap::<_, Vec<Arc<Play>>>::new();
        for play in app.plays().streaming() {
            let plays = by_credential.entry(play.grant().credential).or_default();
            plays.push(play);
        }
        futures::stream::iter(by_credential.into_values())
            .for_each_concurrent(CHECKS_AT_ONCE, |plays| cut_refused(&app, plays))
            .await;
        app.plays().end(Ending::Idle).await;
    }
}

/// Looks one credential up, once for all of its plays: the door believes what it found.
async fn cut_refused(app: &App, plays: Vec<Arc<Play>>) {
    let check = async {
        for play in plays {
            if !app.still_may(play.grant()).await {
                play.cut();
            }
        }
    };
    if tokio::time::timeout(CHECK_LIMIT, check).await.is_err() {
        tracing::warn!("a credential could not be checked in time; its streams go on");
    }
}

const WATCH_EVERY: Duration = Duration::from_millis(100);
const CHECK_EVERY: Duration = Duration::from_secs(1);
const HEAR_EVERY: Duration = Duration::from_millis(500);
/// For the catalogue to say whether a credential still stands.
const CHECK_LIMIT: Duration = Duration::from_secs(2);
const CHECKS_AT_ONCE: usize = 16;
/// For connections to notice that they are cut.
const CUT_LIMIT: Duration = Duration::from_secs(2);

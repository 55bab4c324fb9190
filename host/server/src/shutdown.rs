//! The end, in two stages: first the server turns away and lets streams finish, then it cuts them.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How far the end has come. Later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Not begun.
    Serving,
    /// `/readyz` fails; connections are still accepted.
    Notice,
    /// No new connections; open streams may finish.
    Draining,
    /// Open streams are cut.
    Cut,
}

/// Ends a server from within the program.
#[derive(Debug, Clone)]
pub struct ShutdownHandle(watch::Sender<u8>);

/// What [`crate::BoundServer::serve`] listens to.
#[derive(Debug)]
pub struct Shutdown(watch::Receiver<u8>);

impl Shutdown {
    /// A shutdown that its handle controls. Without the handle the server runs on.
    #[must_use]
    pub fn manual() -> (ShutdownHandle, Self) {
        let (sender, receiver) = watch::channel(0);
        (ShutdownHandle(sender), Self(receiver))
    }

    /// The first SIGINT or SIGTERM drains, the second cuts.
    ///
    /// # Errors
    /// The signals cannot be listened to.
    pub fn on_signals() -> io::Result<Self> {
        let (handle, shutdown) = Self::manual();
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                handle.advance();
            }
        });
        Ok(shutdown)
    }

    /// Waits for the first sign.
    pub(crate) async fn drain(&mut self) {
        self.reached(1).await;
    }

    /// Waits for the second.
    pub(crate) async fn cut(&mut self) {
        self.reached(2).await;
    }

    async fn reached(&mut self, stage: u8) {
        if self.0.wait_for(|now| *now >= stage).await.is_err() {
            // Nobody is left who could say so.
            std::future::pending::<()>().await;
        }
    }
}

impl ShutdownHandle {
    /// Lets open streams finish, for as long as the settings say.
    pub fn drain(&self) {
        self.0.send_modify(|stage| *stage = (*stage).max(1));
    }

    /// Cuts open streams.
    pub fn cut(&self) {
        self.0.send_modify(|stage| *stage = 2);
    }

    fn advance(&self) {
        self.0
            .send_modify(|stage| *stage = stage.saturating_add(1).min(2));
    }
}

//! JSON bodies. Not reqwest's own, a feature that the program has no use for: with it, all that
//! stands on reqwest would be compiled once more to be tested.

use anyhow::Context as _;
use reqwest::{RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A request with a JSON body.
pub trait JsonRequest: Sized {
    /// Puts the body and its media type.
    ///
    /// # Errors
    /// `body` cannot be written as JSON.
    fn json(self, body: &(impl Serialize + ?Sized)) -> anyhow::Result<Self>;
}

impl JsonRequest for RequestBuilder {
    fn json(self, body: &(impl Serialize + ?Sized)) -> anyhow::Result<Self> {
        let body = serde_json::to_vec(body)?;
        Ok(self.header("content-type", "application/json").body(body))
    }
}

/// An answer with a JSON body.
pub trait JsonResponse {
    /// Reads the body.
    ///
    /// # Errors
    /// The connection broke, or it is no such JSON.
    fn json<T: DeserializeOwned>(self) -> impl Future<Output = anyhow::Result<T>> + Send;
}

impl JsonResponse for Response {
    async fn json<T: DeserializeOwned>(self) -> anyhow::Result<T> {
        let body = self.bytes().await?;
        serde_json::from_slice(&body).context("the answer is not the JSON that was expected")
    }
}

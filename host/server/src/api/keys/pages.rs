//! Listings as the Genesys Cloud API pages them: by number.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::{Code, Problem};

/// Which page.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// How many on a page, 1 to 200; 25 unless said.
    page_size: Option<usize>,
    /// Which page, from 1.
    page_number: Option<usize>,
    /// The tenant, where the token administers several.
    pub(crate) tenant: Option<String>,
}

/// One page of a listing.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Listing<T> {
    /// What is on it.
    pub(crate) entities: Vec<T>,
    /// How many there are on a page.
    pub(crate) page_size: usize,
    /// Which page it is, from 1.
    pub(crate) page_number: usize,
    /// How many there are in all.
    pub(crate) total: usize,
    /// How many pages there are.
    pub(crate) page_count: usize,
    /// This page.
    pub(crate) self_uri: String,
    /// The first page.
    pub(crate) first_uri: String,
    /// The last page.
    pub(crate) last_uri: String,
    /// The page after this, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_uri: Option<String>,
    /// The page before this, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) previous_uri: Option<String>,
}

impl PageQuery {
    /// The page of `all` that is asked for.
    pub(crate) fn page<T>(&self, path: &str, all: Vec<T>) -> Result<Listing<T>, Problem> {
        let wrong = |what: &str| Err(Problem::new(Code::BadRequest, what));
        let page_size = match self.page_size.unwrap_or(25) {
            size @ 1..=200 => size,
            _ => return wrong("pageSize: expected 1 to 200."),
        };
        let page_number = match self.page_number.unwrap_or(1) {
            number @ 1..=1_000_000 => number,
            _ => return wrong("pageNumber: expected 1 or more."),
        };
        let total = all.len();
        let page_count = total.div_ceil(page_size).max(1);
        let uri = |number: usize| {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("pageSize", &page_size.to_string());
            query.append_pair("pageNumber", &number.to_string());
            if let Some(tenant) = &self.tenant {
                query.append_pair("tenant", tenant);
            }
            format!("{path}?{}", query.finish())
        };
        Ok(Listing {
            entities: all
                .into_iter()
                .skip((page_number - 1) * page_size)
                .take(page_size)
                .collect(),
            page_size,
            page_number,
            total,
            page_count,
            self_uri: uri(page_number),
            first_uri: uri(1),
            last_uri: uri(page_count),
            next_uri: (page_number < page_count).then(|| uri(page_number + 1)),
            previous_uri: (page_number > 1).then(|| uri(page_number - 1)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_say_where_the_others_are() {
        let query = |size, number| PageQuery {
            page_size: size,
            page_number: number,
            tenant: Some("a b".to_owned()),
        };
        let page = query(Some(2), Some(2)).page("/x", vec![1, 2, 3, 4, 5]);
        let page = page.unwrap_or_else(|problem| panic!("{problem:?}"));
        assert_eq!(
            (page.entities.as_slice(), page.total, page.page_count),
            (&[3, 4][..], 5, 3)
        );
        assert_eq!(
            page.next_uri.as_deref(),
            Some("/x?pageSize=2&pageNumber=3&tenant=a+b")
        );
        assert_eq!(
            page.previous_uri.as_deref(),
            Some("/x?pageSize=2&pageNumber=1&tenant=a+b")
        );
        let empty = query(None, Some(7)).page("/x", Vec::<u8>::new());
        let empty = empty.unwrap_or_else(|problem| panic!("{problem:?}"));
        assert_eq!(
            (empty.entities.len(), empty.page_count, empty.next_uri),
            (0, 1, None)
        );
        for (size, number) in [(Some(0), None), (Some(201), None), (None, Some(0))] {
            assert!(query(size, number).page("/x", vec![1]).is_err());
        }
    }
}

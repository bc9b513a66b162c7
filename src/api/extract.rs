//! What handlers take: bodies, paths and queries that are what they should be, or the one shape of error.

use axum::{
    Form, Json,
    extract::{FromRequest, FromRequestParts, Request},
    http::header,
};
use serde::de::DeserializeOwned;

use crate::error::ApiError;

/// A JSON body. Its type refuses fields that it does not know.
#[derive(Debug, FromRequest)]
#[from_request(via(axum::Json), rejection(ApiError))]
pub(crate) struct Body<T>(pub T);

/// The parts of a path that stand for something. Where they are of no valid form, nothing is there.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(ApiError))]
pub(crate) struct At<T>(pub T);

/// The query. Its type refuses fields that it does not know.
#[derive(Debug, FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(ApiError))]
pub(crate) struct Asked<T>(pub T);

/// A body that is JSON, or the form of one of the pages here.
#[derive(Debug)]
pub(crate) struct Said<T> {
    pub value: T,
    /// Whether a browser has sent it, whose reader wants a page.
    pub is_form: bool,
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Said<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        if kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) {
            let Form(value) = Form::from_request(request, state).await?;
            return Ok(Self { value, is_form: true });
        }
        let Json(value) = Json::from_request(request, state).await?;
        Ok(Self { value, is_form: false })
    }
}

//! What handlers take: bodies, paths and queries that are what they should be, or the one shape of error.

use axum::extract::{FromRequest, FromRequestParts};

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

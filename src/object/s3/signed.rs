//! Signing a request with a SHA-256 of its content that is known already, so that nothing reads the content for that.

use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;

use crate::hex;

/// The SHA-256 that a request's content has: the store refuses the request if other bytes arrive.
#[derive(Debug)]
pub(super) struct Signed(pub(super) [u8; 32]);

impl Intercept for Signed {
    fn name(&self) -> &'static str {
        "Signed"
    }

    fn modify_before_signing(
        &self,
        _: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(PayloadSigningOverride::Precomputed(hex::encode(&self.0)));
        Ok(())
    }
}

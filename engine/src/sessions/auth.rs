//! Who may join: nobody is asked, everybody knows the same secret, or each brings a JWT.

use std::sync::Arc;

use subtle::ConstantTimeEq;
use wire::CloseCode;

use crate::sessions::bad::Bad;

/// What a Join's credentials are checked against.
#[derive(Clone)]
pub enum Auth {
    None,
    Secret(Arc<[u8]>),
}

/// Why the engine cannot tell who may join.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {}

impl Auth {
    /// # Errors
    /// [`AuthError`] if the key cannot be had.
    pub fn new(_config: &crate::config::Config) -> Result<Auth, AuthError> {
        Ok(Auth::None)
    }

    /// What the credentials say of their bearer, as JSON; empty where they say nothing.
    ///
    /// # Errors
    /// They are missing, or not accepted.
    pub(crate) fn check(&self, credentials: &str) -> Result<Arc<str>, Bad> {
        let refuse = |cause, reason: &'static str| Err(Bad::new(CloseCode::BadCredentials, cause, reason));
        match self {
            Auth::None => Ok("".into()),
            Auth::Secret(_) if credentials.is_empty() => {
                refuse("credentials-missing", "credentials are needed: the secret of this engine")
            }
            Auth::Secret(secret) if secret.ct_eq(credentials.as_bytes()).into() => Ok("".into()),
            Auth::Secret(_) => refuse("credentials-wrong", "the credentials are not the secret of this engine"),
        }
    }
}

/// Never the secret.
impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Auth::None => "Auth::None",
            Auth::Secret(_) => "Auth::Secret(…)",
        })
    }
}

//! Who may join: everybody, whoever knows the engine's secret, or whoever brings a JWT that was signed for it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, Validation, errors::ErrorKind};
use subtle::ConstantTimeEq;
use wire::CloseCode;
use wire::limits::CREDENTIALS_BYTES_MAX;

use crate::config::{AuthKind, Config};
use crate::sessions::bad::Bad;

/// Keys of HS256 shorter than this can be guessed from a token (RFC 7518, 3.2, asks for 32).
const SECRET_BYTES_MIN: usize = 16;
const KEY_FILE_BYTES_MAX: u64 = 64 << 10;
/// By how much the clock of whoever signs a token may differ from the engine's.
const LEEWAY_SECONDS: u64 = 60;

/// What a Join's credentials are checked against.
#[derive(Clone)]
pub enum Auth {
    None,
    /// The credentials are this secret. They say nothing of their bearer.
    Secret(Arc<[u8]>),
    /// The credentials are a JWT; its claims go to the logic.
    Jwt(Arc<Jwt>),
}

/// How a token is verified.
pub struct Jwt {
    key: DecodingKey,
    validation: Validation,
}

/// Why the engine cannot tell who may join. Each text is one line.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error("auth = {auth} needs a key: name its file by auth_key in engine.toml")]
    NoKey { auth: AuthKind },
    #[error(
        "auth = \"none\" has no use for auth_key = {file:?}; remove it, or say auth = \"secret\", \"jwt-hs256\" or \"jwt-eddsa\""
    )]
    UselessKey { file: String },
    #[error("the key {file} cannot be read: {source}")]
    Read { file: String, source: io::Error },
    #[error("the key {file} has mode {mode:04o}, so others on this machine may know it; take their rights away")]
    Open { file: String, mode: u32 },
    #[error("the key {file} has {found} bytes; expected at least {SECRET_BYTES_MIN}")]
    Short { file: String, found: usize },
    #[error("the key {file} is no Ed25519 public key in PEM: {source}")]
    NotPem { file: String, source: jsonwebtoken::errors::Error },
}

impl Auth {
    /// # Errors
    /// [`AuthError`] if the key cannot be had.
    pub fn new(config: &Config) -> Result<Auth, AuthError> {
        let kind = config.auth;
        let file = match (&config.auth_key, kind) {
            (None, AuthKind::None) => return Ok(Auth::None),
            (Some(file), AuthKind::None) => return Err(AuthError::UselessKey { file: file.display().to_string() }),
            (None, auth) => return Err(AuthError::NoKey { auth }),
            (Some(file), _) => file,
        };
        match kind {
            AuthKind::None => unreachable!("returned above"),
            AuthKind::Secret => Ok(Auth::Secret(secret(file)?.into())),
            AuthKind::JwtHs256 => Ok(Auth::jwt(Algorithm::HS256, DecodingKey::from_secret(&secret(file)?))),
            AuthKind::JwtEdDsa => {
                let (pem, _) = read(file)?;
                let key = DecodingKey::from_ed_pem(&pem);
                let key = key.map_err(|source| AuthError::NotPem { file: file.display().to_string(), source })?;
                Ok(Auth::jwt(Algorithm::EdDSA, key))
            }
        }
    }

    /// One algorithm only: a token must not choose how it is verified.
    fn jwt(algorithm: Algorithm, key: DecodingKey) -> Auth {
        let mut validation = Validation::new(algorithm);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY_SECONDS;
        // Whom a token is for is among the claims, which the logic sees.
        validation.validate_aud = false;
        Auth::Jwt(Arc::new(Jwt { key, validation }))
    }

    /// What the credentials say of their bearer, as JSON; empty where they say nothing.
    ///
    /// # Errors
    /// They are missing, too long, or not accepted.
    pub(crate) fn check(&self, credentials: &str) -> Result<Arc<str>, Bad> {
        let refuse = |cause, reason: &str| Err(Bad::new(CloseCode::BadCredentials, cause, reason.to_owned()));
        // Those of a frame are no longer; a header of a handshake may be.
        if credentials.len() > CREDENTIALS_BYTES_MAX {
            let reason =
                format!("credentials of {} bytes; expected at most {CREDENTIALS_BYTES_MAX}", credentials.len());
            return refuse("credentials-long", &reason);
        }
        match self {
            Auth::None => Ok("".into()),
            _ if credentials.is_empty() => refuse("credentials-missing", "credentials are needed to join"),
            Auth::Secret(secret) if secret.ct_eq(credentials.as_bytes()).into() => Ok("".into()),
            Auth::Secret(_) => refuse("credentials-wrong", "the credentials are not accepted"),
            Auth::Jwt(jwt) => {
                let verified = jsonwebtoken::decode::<serde_json::Value>(credentials, &jwt.key, &jwt.validation);
                match verified {
                    // It asks for what is not known here, and a token is to be refused then (RFC 7515, 4.1.11).
                    Ok(token) if token.header.crit.is_some() => refuse(
                        "credentials-wrong",
                        "the token is not accepted: nothing that its header calls critical is known",
                    ),
                    Ok(token) => Ok(token.claims.to_string().into()),
                    Err(error) if *error.kind() == ErrorKind::ExpiredSignature => {
                        refuse("credentials-expired", "the token has expired")
                    }
                    Err(error) => refuse("credentials-wrong", &format!("the token is not accepted: {error}")),
                }
            }
        }
    }
}

/// What a file holds that nobody else may know.
fn secret(file: &Path) -> Result<Vec<u8>, AuthError> {
    let (bytes, mode) = read(file)?;
    if mode & 0o077 != 0 {
        return Err(AuthError::Open { file: file.display().to_string(), mode: mode & 0o7777 });
    }
    let secret = bytes.trim_ascii_end();
    if secret.len() < SECRET_BYTES_MIN {
        return Err(AuthError::Short { file: file.display().to_string(), found: secret.len() });
    }
    Ok(secret.to_vec())
}

/// What a file holds, and its mode.
fn read(file: &Path) -> Result<(Vec<u8>, u32), AuthError> {
    let read = || {
        let mut bytes = Vec::new();
        let opened = File::open(file)?;
        let mode = opened.metadata()?.mode();
        opened.take(KEY_FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok((bytes, mode))
    };
    read().map_err(|source| AuthError::Read { file: file.display().to_string(), source })
}

/// Never the key.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Auth::None => "Auth::None",
            Auth::Secret(_) => "Auth::Secret",
            Auth::Jwt(_) => "Auth::Jwt",
        })
    }
}

/// Never the key.
impl fmt::Debug for Jwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwt").field("algorithms", &self.validation.algorithms).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;

    const SECRET: &str = "sixteen bytes at least";
    /// A pair made for this test.
    const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAxFBV/eB4A7LGCOluE33pj3r4Cxo+j5vWDiT5BVhris\n-----END PRIVATE KEY-----\n";
    const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAq43mR+wH2KgF9pkX4fs8UmfHMCct/82qoLwob7wAbL4=\n-----END PUBLIC KEY-----\n";

    /// With a key file of this content and mode.
    fn auth(kind: AuthKind, key: &str, mode: u32) -> Result<Auth, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, key).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let config = Config { auth: kind, auth_key: Some(path.clone()), ..Config::default() };
        Auth::new(&config).map_err(|error| error.to_string().replace(&path.display().to_string(), "KEY"))
    }

    fn check(auth: &Auth, credentials: &str, expected: Result<&str, &str>) {
        let checked = auth.check(credentials);
        assert_eq!(checked.as_deref().map_err(|bad| bad.cause), expected, "{credentials}");
    }

    fn signed(algorithm: Algorithm, key: &EncodingKey, claims: &serde_json::Value) -> String {
        encode(&Header::new(algorithm), claims, key).unwrap()
    }

    #[test]
    fn a_secret_is_known_or_not() {
        let auth = auth(AuthKind::Secret, &format!("{SECRET}\n"), 0o600).unwrap();
        check(&auth, SECRET, Ok(""));
        check(&auth, "", Err("credentials-missing"));
        check(&auth, "sixteen bytes at leas", Err("credentials-wrong"));
        check(&Auth::None, "whatever", Ok(""));
    }

    #[test]
    fn credentials_have_an_end() {
        let longest = "x".repeat(CREDENTIALS_BYTES_MAX);
        let auth = auth(AuthKind::Secret, &longest, 0o600).unwrap();
        check(&auth, &longest, Ok(""));
        for auth in [auth, Auth::None] {
            check(&auth, &format!("{longest}x"), Err("credentials-long"));
        }
    }

    #[test]
    fn a_token_is_verified_and_its_claims_passed_on() {
        let far = 4_000_000_000_u64;
        let good = json!({ "sub": "ann", "exp": far, "aud": "another" });
        let hs256 = auth(AuthKind::JwtHs256, SECRET, 0o400).unwrap();
        let ed_dsa = auth(AuthKind::JwtEdDsa, PUBLIC, 0o644).unwrap();
        let secret = EncodingKey::from_secret(SECRET.as_bytes());
        let private = EncodingKey::from_ed_pem(PRIVATE.as_bytes()).unwrap();
        let by_secret = signed(Algorithm::HS256, &secret, &good);
        let by_private = signed(Algorithm::EdDSA, &private, &good);
        let claims = r#"{"aud":"another","exp":4000000000,"sub":"ann"}"#;
        check(&hs256, &by_secret, Ok(claims));
        check(&ed_dsa, &by_private, Ok(claims));
        // A public key is known to all: nothing may be signed with it as if it were a secret.
        let confused = signed(Algorithm::HS256, &EncodingKey::from_secret(PUBLIC.as_bytes()), &good);
        for (auth, token) in [(&hs256, &by_private), (&ed_dsa, &by_secret), (&ed_dsa, &confused)] {
            check(auth, token, Err("credentials-wrong"));
        }
        check(&hs256, &signed(Algorithm::HS384, &secret, &good), Err("credentials-wrong"));
        check(&hs256, &signed(Algorithm::HS256, &secret, &json!({ "exp": 1 })), Err("credentials-expired"));
        for claims in [json!({ "sub": "ann" }), json!({ "exp": far, "nbf": far - 1 })] {
            check(&hs256, &signed(Algorithm::HS256, &secret, &claims), Err("credentials-wrong"));
        }
        let crit = Some(vec!["exp".to_owned()]);
        for crit in [crit, Some(Vec::new())] {
            let header = Header { crit, ..Header::new(Algorithm::HS256) };
            check(&hs256, &encode(&header, &good, &secret).unwrap(), Err("credentials-wrong"));
        }
        let unsigned = "eyJhbGciOiJub25lIn0.eyJleHAiOjQwMDAwMDAwMDB9.";
        for token in [unsigned, "a.b.c", "x", &by_secret[..by_secret.len() - 1]] {
            check(&hs256, token, Err("credentials-wrong"));
        }
        check(&hs256, "", Err("credentials-missing"));
    }

    #[test]
    fn a_clock_that_is_a_little_off_does_no_harm() {
        let auth = auth(AuthKind::JwtHs256, SECRET, 0o400).unwrap();
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let token = |claims| signed(Algorithm::HS256, &EncodingKey::from_secret(SECRET.as_bytes()), &claims);
        assert!(
            auth.check(&token(json!({ "exp": now - LEEWAY_SECONDS / 2, "nbf": now + LEEWAY_SECONDS / 2 }))).is_ok()
        );
        check(&auth, &token(json!({ "exp": now - 2 * LEEWAY_SECONDS })), Err("credentials-expired"));
        check(&auth, &token(json!({ "exp": now + 999, "nbf": now + 2 * LEEWAY_SECONDS })), Err("credentials-wrong"));
    }

    #[test]
    fn a_key_that_cannot_be_used_is_told_with_what_to_do() {
        let refused = |kind, key, mode| auth(kind, key, mode).unwrap_err();
        assert_eq!(
            refused(AuthKind::Secret, SECRET, 0o640),
            "the key KEY has mode 0640, so others on this machine may know it; take their rights away"
        );
        assert_eq!(
            refused(AuthKind::JwtHs256, "fifteen bytes..", 0o600),
            "the key KEY has 15 bytes; expected at least 16"
        );
        let not_pem = refused(AuthKind::JwtEdDsa, SECRET, 0o644);
        assert!(not_pem.starts_with("the key KEY is no Ed25519 public key in PEM: "), "{not_pem}");
        let useless = refused(AuthKind::None, SECRET, 0o600);
        assert!(useless.starts_with("auth = \"none\" has no use for auth_key = "), "{useless}");
        assert!(
            useless.ends_with("; remove it, or say auth = \"secret\", \"jwt-hs256\" or \"jwt-eddsa\""),
            "{useless}"
        );
        let config = Config { auth: AuthKind::Secret, ..Config::default() };
        let error = Auth::new(&config).unwrap_err().to_string();
        assert_eq!(error, "auth = \"secret\" needs a key: name its file by auth_key in engine.toml");
    }
}

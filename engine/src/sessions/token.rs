//! Resume tokens: whoever has one is the player. They hold all that is needed to check them but the secret, so that
//! nothing is kept for each player, and a token outlives the engine's process.

use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use logic_api::PlayerId;
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::Sha256;
use wire::limits::{ROOM_NAME_BYTES_MAX, TOKEN_BYTES_MAX};

use crate::token::{Token, TokenError};

/// The secret's file in the data folder. Whoever reads it can be any player.
const SESSION_SECRET_FILE: &str = "session.secret";

/// The first byte of a token, so that it can ever be made otherwise.
const FORMAT: u8 = 1;
/// Half of HMAC-SHA256, as RFC 2104 allows: to guess one takes 2^128 tries, over a network.
const MAC_BYTES: usize = 16;
const PLAYER_BYTES: usize = 8;
/// Exact as a JavaScript number.
const PLAYER_BITS: u32 = 53;

const _: () = assert!((1 + PLAYER_BYTES + ROOM_NAME_BYTES_MAX + MAC_BYTES) * 4 / 3 < TOKEN_BYTES_MAX);

/// Makes tokens and checks them.
#[derive(Debug, Clone)]
pub struct Tokens(Hmac<Sha256>);

impl Tokens {
    /// With the secret of this data folder, made if there is none.
    ///
    /// # Errors
    /// [`TokenError`] if it cannot be used or made.
    pub fn load_or_make(data: &Path) -> Result<Tokens, TokenError> {
        Ok(Tokens::new(Token::load_or_make(data, SESSION_SECRET_FILE)?.reveal().as_bytes()))
    }

    fn new(secret: &[u8]) -> Tokens {
        Tokens(Hmac::new_from_slice(secret).expect("HMAC takes a key of any length"))
    }

    /// # Panics
    /// If the room's name is longer than names may be.
    pub(crate) fn token(&self, room: &str, player: PlayerId) -> String {
        assert!(room.len() <= ROOM_NAME_BYTES_MAX, "a room's name is short");
        let mut bytes = vec![FORMAT];
        bytes.extend_from_slice(&player.0.to_le_bytes());
        bytes.extend_from_slice(room.as_bytes());
        let mac = self.0.clone().chain_update(&bytes).finalize().into_bytes();
        bytes.extend_from_slice(&mac[..MAC_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Who this token makes one, and in which room; `None` if this engine never made it. That the player is still in
    /// the room is for the room to say.
    pub(crate) fn check(&self, token: &str) -> Option<(String, PlayerId)> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (said, mac) = bytes.split_at_checked(bytes.len().checked_sub(MAC_BYTES)?)?;
        self.0.clone().chain_update(said).verify_truncated_left(mac).ok()?;
        let (&FORMAT, said) = said.split_first()? else { return None };
        let (player, room) = said.split_first_chunk::<PLAYER_BYTES>()?;
        Some((str::from_utf8(room).ok()?.to_owned(), PlayerId(u64::from_le_bytes(*player))))
    }
}

/// Somebody who never was: from 1 to 2^53 - 1, so many that nobody is met twice.
///
/// # Errors
/// The operating system gave no random bytes.
pub(crate) fn random_player() -> io::Result<PlayerId> {
    loop {
        let mut bytes = [0; 8];
        let count = getrandom(&mut bytes, GetRandomFlags::empty())?;
        assert_eq!(count, bytes.len(), "the kernel fills requests of up to 256 bytes");
        let number = u64::from_le_bytes(bytes) >> (u64::BITS - PLAYER_BITS);
        if number != 0 {
            return Ok(PlayerId(number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_players_in_one_room() {
        let tokens = Tokens::new(b"a secret");
        let longest = "r".repeat(ROOM_NAME_BYTES_MAX);
        for (room, player) in [("main", 1), ("", (1 << 53) - 1), (&*longest, 7)] {
            let token = tokens.token(room, PlayerId(player));
            assert!(token.len() <= TOKEN_BYTES_MAX);
            assert_eq!(tokens.check(&token), Some((room.to_owned(), PlayerId(player))));
            assert_eq!(Tokens::new(b"another").check(&token), None);
        }
    }

    #[test]
    fn a_token_with_any_other_byte_is_none() {
        let tokens = Tokens::new(b"a secret");
        let token = tokens.token("main", PlayerId(77));
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut other = bytes.clone();
                other[at] ^= 1 << bit;
                assert_eq!(tokens.check(&URL_SAFE_NO_PAD.encode(other)), None);
            }
            assert_eq!(tokens.check(&URL_SAFE_NO_PAD.encode(&bytes[..at])), None);
        }
        for text in ["", "=", "ä", &token[1..], &format!("{token}A"), &format!("{token}=")] {
            assert_eq!(tokens.check(text), None, "{text}");
        }
    }

    #[test]
    fn players_are_exact_in_javascript() {
        for _ in 0..1000 {
            let PlayerId(player) = random_player().unwrap();
            assert!(player > 0 && player < 1 << 53);
        }
    }
}

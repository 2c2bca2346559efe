//! How many connections of players each address has open.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use wire::CloseCode;

use crate::sessions::bad::Bad;

/// A network of IPv6 is given to a household as a whole: what is behind these bits is for it to choose.
const V6_NETWORK: u128 = !0 << 64;

#[derive(Debug)]
pub(super) struct Addresses {
    /// 0: no limit, and nobody is counted.
    connections_max: usize,
    /// Of those that have any.
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection of an address, for as long as it is held.
#[derive(Debug)]
pub(super) struct FromAddress {
    addresses: Arc<Addresses>,
    address: IpAddr,
}

impl Addresses {
    pub(super) fn new(connections_max: usize) -> Arc<Addresses> {
        Arc::new(Addresses { connections_max, open: Mutex::default() })
    }

    /// # Errors
    /// The address has as many as it may.
    pub(super) fn take(self: &Arc<Self>, peer: IpAddr) -> Result<Option<FromAddress>, Bad> {
        if self.connections_max == 0 {
            return Ok(None);
        }
        let address = counted_as(peer);
        let mut open = self.open.lock();
        let count = open.entry(address).or_default();
        if *count >= self.connections_max {
            let reason = format!("{count} connections of {address} are open (connections_per_address_max)");
            return Err(Bad::new(CloseCode::Failed, "address-full", reason));
        }
        *count += 1;
        Ok(Some(FromAddress { addresses: Arc::clone(self), address }))
    }
}

impl Drop for FromAddress {
    fn drop(&mut self) {
        let mut open = self.addresses.open.lock();
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

/// A listener for both families gives addresses of IPv4 as those of IPv6.
fn counted_as(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) & V6_NETWORK)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_and_nothing_is_kept_of_those_that_have_none() {
        let addresses = Addresses::new(2);
        let take = |address: &str| addresses.take(address.parse().unwrap());
        let first = [take("10.0.0.1").unwrap(), take("::ffff:10.0.0.1").unwrap()];
        let refused = take("10.0.0.1").unwrap_err();
        assert_eq!((refused.code, refused.cause), (CloseCode::Failed, "address-full"));
        assert_eq!(refused.reason, "2 connections of 10.0.0.1 are open (connections_per_address_max)");
        let other = [take("10.0.0.2").unwrap(), take("2001:db8::1").unwrap(), take("2001:db8::2:3").unwrap()];
        assert!(take("2001:db8::4").is_err() && take("2001:db8:0:1::4").is_ok());
        drop(first);
        take("10.0.0.1").unwrap();
        drop(other);
        assert!(addresses.open.lock().is_empty());
    }

    #[test]
    fn nothing_is_no_limit() {
        let addresses = Addresses::new(0);
        let taken: Vec<_> = (0..100).map(|_| addresses.take(IpAddr::from([10, 0, 0, 1])).unwrap()).collect();
        assert!(taken.iter().all(Option::is_none) && addresses.open.lock().is_empty());
    }
}

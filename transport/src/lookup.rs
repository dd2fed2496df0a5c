//! Looks up the names that may lead to several loggers.

use std::{io, net::IpAddr};

use crate::{CONNECT_TIMEOUT, dial::in_time};

/// The addresses of a name, sorted; none if it has only one: that logger is dialled by name. Of the two families it is the
/// one with more: the other one's are mostly those of the same machines.
///
/// # Errors
/// If it cannot be looked up, or not in time.
pub(crate) async fn addresses_of(name: String) -> io::Result<Vec<IpAddr>> {
    let late = "it took too long to look the name up";
    // The port is not looked at.
    let found = in_time(CONNECT_TIMEOUT, late, tokio::net::lookup_host((name, 0))).await?;
    let found = found.map(|address| address.ip());
    let (mut v4, mut v6): (Vec<IpAddr>, Vec<IpAddr>) = found.partition(IpAddr::is_ipv4);
    for addresses in [&mut v4, &mut v6] {
        addresses.sort_unstable();
        addresses.dedup();
    }
    let more = if v6.len() > v4.len() { v6 } else { v4 };
    Ok(if more.len() > 1 { more } else { Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_of_one_machine_leads_to_one_logger() {
        // It may have an address of either family.
        assert_eq!(addresses_of("localhost".to_owned()).await.expect("it is known"), [] as [IpAddr; 0]);
        assert!(addresses_of("nowhere.invalid".to_owned()).await.is_err());
    }
}

//! Looks up the names that may lead to several loggers.

use std::{io, net::IpAddr};

/// The addresses that a name leads to, in one order whoever asks; none if it leads to one alone, which is then dialled by its
/// name. Of the two families it is the one with more: the other one's are mostly those of the same machines.
///
/// # Errors
/// If it cannot be looked up.
pub(crate) async fn addresses_of(name: String) -> io::Result<Vec<IpAddr>> {
    // The port is not looked at.
    let found = tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip());
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

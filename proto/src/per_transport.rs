//! Something for each transport, such as a limit or a counter.

use std::ops::Index;

use crate::Transport;

/// One `T` for each [`Transport`]: as many as there are, and each made for its own, so that none can be left out.
#[derive(Debug)]
pub struct PerTransport<T>([T; Transport::ALL.len()]);

impl<T> PerTransport<T> {
    /// Makes one for each.
    pub fn new(make: impl FnMut(Transport) -> T) -> Self {
        PerTransport(Transport::ALL.map(make))
    }
}

impl<T> Index<Transport> for PerTransport<T> {
    type Output = T;

    fn index(&self, transport: Transport) -> &T {
        &self.0[transport as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_transport_has_its_own() {
        let made = PerTransport::new(|transport| transport);
        for transport in Transport::ALL {
            assert_eq!(made[transport], transport);
        }
    }
}

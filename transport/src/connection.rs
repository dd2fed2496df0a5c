//! How a connection is that is kept open in the background.

/// The state of a connection; what can be done with an open one is a `T`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Connection<T> {
    /// Before the end of the first attempt.
    Connecting,
    /// Open.
    Up(T),
    /// Lost, or the last attempt failed: why.
    Down(String),
}

impl<T> Connection<T> {
    pub(crate) fn is_up(&self) -> bool {
        matches!(self, Connection::Up(_))
    }

    /// Whether the first attempt has come to its end.
    pub(crate) fn was_tried(&self) -> bool {
        !matches!(self, Connection::Connecting)
    }
}

/// Why there is no connection before the first attempt has come to its end.
pub(crate) const NOT_YET: &str = "not connected yet";

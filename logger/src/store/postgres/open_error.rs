//! Why a database cannot be opened, for the kinds of reasons that every store has.

use super::cause::{Cause, Unfit, Unproved};
use crate::store::OpenError;

/// A database that cannot be used, by its hosts and its name.
#[derive(Debug, thiserror::Error)]
#[error("{place} cannot be used: {cause}")]
pub(super) struct Unopened {
    pub(super) place: String,
    pub(super) cause: Cause,
}

impl From<Unopened> for OpenError {
    fn from(unopened: Unopened) -> Self {
        match &unopened.cause {
            Cause::Unproved(Unproved::NotDurable { .. }) => OpenError::NotDurable(Box::new(unopened)),
            Cause::Unfit(Unfit::Newer { .. }) => OpenError::Newer(Box::new(unopened)),
            Cause::Unproved(Unproved::Standby | Unproved::Encoding(_) | Unproved::TooOld(_))
            | Cause::Unfit(Unfit::Foreign | Unfit::Rows { .. } | Unfit::Behind { .. } | Unfit::Changed)
            | Cause::Driver(_)
            | Cause::Silent(_)
            | Cause::Warned => OpenError::Unusable(Box::new(unopened)),
        }
    }
}

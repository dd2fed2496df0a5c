//! A clock of the database that is wrong: what is told of it.

use proto::Time;

use super::*;
use crate::store::postgres::upkeep::{self, Seen};

const DAY: i64 = 86_400;

#[test]
fn a_leap_of_the_databases_clock_is_told_with_its_direction() {
    for (seconds, words) in
        [(365 * DAY + 60, "forward by 365 days, to 2"), (-30 * DAY - 60, "back by 30 days, to 2")]
    {
        let place = Place::made("");
        let mut store = place.open();
        let vitals = store.reader().vitals();
        assert_eq!(vitals.clock_trouble(), None);
        let session = store.take_session().expect("connected");
        let seen = store.run(upkeep::look(&session, false)).expect("it answers");
        store.session = Some(session);
        let now = Time::from_microsecond(seen.now.as_microsecond() + seconds * 1_000_000).expect("a time");
        store.note(Seen { now, ..seen });
        let trouble = vitals.clock_trouble().expect("the clock is in trouble");
        assert!(trouble.starts_with(&format!("the database's clock has jumped {words}")), "{trouble}");
        store.note(Seen { now, last_stored_at: now, ..seen });
        assert_eq!(vitals.clock_trouble(), Some(trouble), "it is told for an hour");
    }
}

//! The shop's promises, over real processes: each test starts the services that it needs on free ports, breaks what its
//! name says, and reads the tables of the services afterwards.

mod alone;
mod controls;
mod kills;
mod log;
mod page;
mod python;
mod retries;
mod rig_up;
mod tables;
mod watch;

use rig_up::Shop;

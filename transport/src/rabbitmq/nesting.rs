//! Headers that are nested as deeply as a frame has room for.
//!
//! lapin reads them by recursion, on threads of its own whose stack nobody can choose, and a stack that is too small ends
//! the process. The environment alone says how large it is, and it is read once, before the first thread. So a
//! program that consumes messages of other applications re-executes itself with a larger stack, before it does anything
//! else.

use std::{env, os::unix::process::CommandExt, process::Command};

use proto::release;

/// Rust's own variable: the stack of a thread, in bytes.
const VARIABLE: &str = "RUST_MIN_STACK";

/// A frame of 128 KiB, RabbitMQ's default, holds 26,000 levels of 5 bytes, and each takes about 2 KiB of the stack (more
/// where nothing is optimised). It is address space: memory is taken for what is used.
const STACK_BYTES: usize = match release::PROFILE.as_bytes() {
    b"release" => 128 * 1024 * 1024,
    _ => 512 * 1024 * 1024,
};

/// Re-executes this program with stacks for headers that are nested as deeply as a frame allows, unless somebody has chosen
/// the size of the stacks. Call it first in `main`: there must be no thread yet, and nothing that would be done twice.
pub fn make_room_for_nesting() {
    if env::var_os(VARIABLE).is_some() {
        return;
    }
    let mut arguments = env::args_os();
    // By its own path, if it is still there: the system calls the process by that.
    let own = env::current_exe().ok().filter(|path| path.exists());
    let mut again = Command::new(own.unwrap_or_else(|| "/proc/self/exe".into()));
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    // It returns only if it cannot be done. Then a message with such headers ends the process, as it does without this;
    // it takes no other along.
    let _error = again.args(arguments).env(VARIABLE, STACK_BYTES.to_string()).exec();
}

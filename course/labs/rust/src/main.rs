//! The starts and solutions in Rust, each the file that a learner gets: `labs-rust 3 solution`.

#[path = "../../05-ack-after-store/solution/rust/main.rs"]
mod ack_after_store_solution;
#[path = "../../05-ack-after-store/start/rust/main.rs"]
mod ack_after_store_start;
#[path = "../../01-four-wires/solution/rust/main.rs"]
mod four_wires_solution;
#[path = "../../01-four-wires/start/rust/main.rs"]
mod four_wires_start;
#[path = "../../08-kept-word/solution/rust/main.rs"]
mod kept_word_solution;
#[path = "../../08-kept-word/start/rust/main.rs"]
mod kept_word_start;
#[path = "../../03-own-rpc/solution/rust/main.rs"]
mod own_rpc_solution;
#[path = "../../03-own-rpc/start/rust/main.rs"]
mod own_rpc_start;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["1", "start"] => four_wires_start::main(),
        ["1", "solution"] => four_wires_solution::main(),
        ["3", "start"] => own_rpc_start::main(),
        ["3", "solution"] => own_rpc_solution::main(),
        ["5", "start"] => ack_after_store_start::main(),
        ["5", "solution"] => ack_after_store_solution::main(),
        ["8", "start"] => kept_word_start::main(),
        ["8", "solution"] => kept_word_solution::main(),
        _ => {
            eprintln!("usage: labs-rust LAB start|solution");
            std::process::exit(2);
        }
    }
}

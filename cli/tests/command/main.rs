//! Runs the command as a user does, on files made here.

mod compare;
mod files;
mod info;
mod look;
mod manners;
mod quantize;

use std::ffi::OsStr;
use std::process::{Command, Output};

fn command<A: AsRef<OsStr>>(arguments: &[A]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gguffuse"));
    command.args(arguments).env_remove("NO_COLOR").env_remove("GGUFFUSE_MAX_ISA");
    command
}

fn run<A: AsRef<OsStr>>(arguments: &[A]) -> Output {
    command(arguments).output().expect("the command starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Standard output of a run that ends with `code`, without a word on stderr, which is no terminal here.
fn end<A: AsRef<OsStr>>(arguments: &[A], code: i32) -> String {
    let output = run(arguments);
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(code), "{}", text(&output.stdout));
    text(&output.stdout)
}

fn succeed<A: AsRef<OsStr>>(arguments: &[A]) -> String {
    end(arguments, 0)
}

/// Exit code 2, nothing on stdout, and one line on stderr that contains `part`.
fn fail<A: AsRef<OsStr>>(arguments: &[A], part: &str) {
    let output = run(arguments);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert_eq!(text(&output.stdout), "");
    assert!(errors.starts_with("gguffuse: ") && errors.contains(part), "{errors:?} does not say {part:?}");
    assert_eq!(errors.find('\n'), Some(errors.len() - 1), "not one line: {errors:?}");
    assert!(!errors.contains(|c: char| c.is_control() && c != '\n'), "{errors:?}");
}

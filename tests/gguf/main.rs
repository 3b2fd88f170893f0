//! The file format through the Rust interface: the rules (`rules`), what is read back (`views`), writing (`writing`),
//! files that are cut anywhere (`faults`), and opening by path (`paths`). Files are made by the library's writer where they are
//! valid and by `raw` where they must not be.

mod faults;
mod paths;
mod raw;
mod rules;
mod seeds;
mod views;
mod writing;

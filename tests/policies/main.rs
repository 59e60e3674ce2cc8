//! Whole policies in virtual time, with the numbers that they are there for.

mod cache;
mod deadlines;
mod hints;
mod priorities;
mod shared;

//! The macros of `logic_api`.

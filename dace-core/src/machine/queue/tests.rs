//! The circuit.

//! The contracts that every backend keeps, on smol and isahc.

use dace_smol::IsahcBackend;
use dace_wire::Expected;

dace_wire::conform!(
    IsahcBackend, Expected::ISAHC, smol::block_on;
    tls: feature = "rustls", http2: feature = "http2"
);

//! The contracts that every backend keeps, on smol and isahc.

use dace_smol::IsahcBackend;
use dace_wire::Expected;

/// What libcurl does not do; the reasons are with the fields.
const EXPECTED: Expected = Expected {
    watches_idle: false,
    resends_safe: true,
    reuses_for_bodiless: false,
    tells_refused: false,
    tells_bad_chunks: false,
    tells_cut_heads: false,
};

dace_wire::conform!(IsahcBackend, EXPECTED, smol::block_on);

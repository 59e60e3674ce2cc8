#[dace::fault_tolerant(runtime = dace::tokio::Tokio, retry_attemps = 3, timeout = "10", queue = "1", idempotent)]
fn function(text: &mut String) -> u8 {
    1
}

fn main() {}

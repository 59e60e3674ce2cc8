//! One GET on tokio and hyper, with everything that dace does by default around it.
//!
//!     cargo run --features tokio --example tokio_get -- http://127.0.0.1:8080/

use dace::tokio::Dependency;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("usage: tokio_get URL")?;
    let any = Dependency::builder("any").build()?;
    let report = any
        .call(|call| {
            let url = url.clone();
            async move { call.http().get(&url).send().await?.error_for_status()?.text().await }
        })
        .report()
        .await;
    eprintln!("{report}");
    print!("{}", report.result?);
    Ok(())
}

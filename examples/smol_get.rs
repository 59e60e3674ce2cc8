//! One GET on smol and isahc, with everything that dace does by default around it.
//!
//!     cargo run --example smol_get -- http://127.0.0.1:8080/

use dace::smol::Dependency;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("usage: smol_get URL")?;
    smol::block_on(async {
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
    })
}

//! Links libxml2, beside which canonical forms are compared. Without its headers (Debian: libxml2-dev) that
//! one target does nothing but say so.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=src/libxml2.c");
    println!("cargo:rustc-check-cfg=cfg(libxml2)");
    let Some(include) = include() else { return };
    cc::Build::new().file("src/libxml2.c").include(include).flag("-O2").compile("stopgap_libxml2");
    println!("cargo:rustc-link-lib=xml2");
    println!("cargo:rustc-cfg=libxml2");
}

/// The folder that holds `libxml/c14n.h`.
fn include() -> Option<String> {
    let said = Command::new("xml2-config").arg("--cflags").output().ok();
    let said = said.map(|done| String::from_utf8_lossy(&done.stdout).into_owned()).unwrap_or_default();
    let told = said.split_whitespace().filter_map(|word| word.strip_prefix("-I")).map(str::to_owned);
    told.chain(["/usr/include/libxml2".to_owned()])
        .find(|folder| Path::new(folder).join("libxml/c14n.h").is_file())
}

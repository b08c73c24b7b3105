//! On Windows: the program's version, and the messages of its events, as resources. The event log shows an event by a
//! message of its source's file; each of ours is the text that comes with the event.

#![allow(clippy::print_stdout, reason = "this is how a build script speaks to Cargo")]

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

/// Of `stopgap_agent::events`, with room behind them.
const FIRST: u32 = 1000;
const LAST: u32 = 1099;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_OS")? != "windows" {
        return Ok(());
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    fs::write(out.join("messages.bin"), messages())?;
    fs::write(out.join("stopgap.rc"), script(&env::var("CARGO_PKG_VERSION")?))?;
    if env::var("CARGO_CFG_TARGET_ENV")? != "gnu" {
        println!("cargo::warning=no resources: they are made with windres, for the GNU target alone");
        return Ok(());
    }
    let windres = if cfg!(windows) { "windres" } else { "x86_64-w64-mingw32-windres" };
    let object = out.join("stopgap.o");
    let done = Command::new(windres)
        .current_dir(&out)
        .args(["--input", "stopgap.rc", "--output-format", "coff", "--output"])
        .arg(&object)
        .status()
        .map_err(|error| format!("cannot start {windres} (binutils-mingw-w64-x86-64): {error}"))?;
    if !done.success() {
        return Err(format!("{windres} ended with {done}").into());
    }
    println!("cargo::rustc-link-arg-bins={}", object.display());
    Ok(())
}

/// A message table (MESSAGE_RESOURCE_DATA): one block of numbers, each with the text `%1`.
fn messages() -> Vec<u8> {
    let text: Vec<u8> = "%1\r\n\0\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
    // Its length with these four octets, and that it is UTF-16.
    let length = u16::try_from(text.len() + 4).unwrap_or(u16::MAX);
    let entry = [length.to_le_bytes().as_slice(), &1u16.to_le_bytes(), &text].concat();
    // One block: its first and last number, and where its entries begin.
    let head = [1, FIRST, LAST, 16].map(u32::to_le_bytes).concat();
    head.into_iter().chain(entry.repeat((LAST - FIRST + 1) as usize)).collect()
}

/// The resource script; type 11 is RT_MESSAGETABLE.
fn script(version: &str) -> String {
    let numbers = version.split(['-', '+']).next().unwrap_or(version).replace('.', ",");
    format!(
        "1 11 \"messages.bin\"\n\
         1 VERSIONINFO\nFILEVERSION {numbers},0\nPRODUCTVERSION {numbers},0\nFILEOS 0x40004\nFILETYPE 1\nBEGIN\n\
         BLOCK \"StringFileInfo\" BEGIN BLOCK \"040904b0\" BEGIN\n\
         VALUE \"FileDescription\", \"Stopgap: signed, temporary mitigations\"\n\
         VALUE \"FileVersion\", \"{version}\"\nVALUE \"ProductName\", \"Stopgap\"\nVALUE \"ProductVersion\", \"{version}\"\n\
         END END\n\
         BLOCK \"VarFileInfo\" BEGIN VALUE \"Translation\", 0x409, 1200 END\nEND\n"
    )
}

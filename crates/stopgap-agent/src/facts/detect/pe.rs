//! The file version of a Windows program or library: `VS_FIXEDFILEINFO` in its resources.
//!
//! Eight small reads at places that the file itself names, each checked; nothing else of the file is read, so
//! its size does not matter. A library for the whole format would be a hundred times as much for one number.
//!
//! Source: Microsoft's "PE Format" (sections "Optional Header Data Directories" and "The .rsrc Section") and
//! "VS_VERSIONINFO structure".

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use stopgap_core::facts::Found;

use super::Opened;

/// More sections than the format's loader takes.
const SECTIONS: u16 = 96;
/// Entries of one folder of resources that are looked at.
const ENTRIES: u16 = 4_096;
/// `RT_VERSION`.
const VERSION: u32 = 16;
/// `VS_FIXEDFILEINFO.dwSignature`.
const SIGNATURE: u32 = 0xFEEF_04BD;
/// The high bit of an entry's offset: it leads to a further folder.
const FOLDER: u32 = 0x8000_0000;

pub(super) fn read(opened: &Opened) -> Result<String, Found> {
    let mut image = Image { file: &opened.file };
    let unreadable = |why| Found::Unreadable(format!("{} {why}", opened.path.display()));
    image.version().map_err(unreadable)
}

struct Image<'a> {
    file: &'a File,
}

/// Why there is no version in it.
type Why = &'static str;

const NO_PROGRAM: Why = "is no Windows program or library";
const NO_VERSION: Why = "has no version among its resources";
const DAMAGED: Why = "is a damaged Windows program or library";

impl Image<'_> {
    fn version(&mut self) -> Result<String, Why> {
        let dos: [u8; 64] = self.at(0).ok_or(NO_PROGRAM)?;
        let pe = u64::from(long(&dos, 60).ok_or(NO_PROGRAM)?);
        let coff: [u8; 24] = self.at(pe).ok_or(NO_PROGRAM)?;
        if !dos.starts_with(b"MZ") || !coff.starts_with(b"PE\0\0") {
            return Err(NO_PROGRAM);
        }
        let sections = short(&coff, 6).ok_or(DAMAGED)?.min(SECTIONS);
        let optional = pe + 24;
        let after = optional + u64::from(short(&coff, 20).ok_or(DAMAGED)?);
        let magic: [u8; 2] = self.at(optional).ok_or(DAMAGED)?;
        // PE32 and PE32+: the place of the data directories, of which resources are the third.
        let directories = match magic {
            [0x0b, 0x01] => 96,
            [0x0b, 0x02] => 112,
            _ => return Err(NO_PROGRAM),
        };
        let resource = optional + directories + 16;
        if resource + 8 > after {
            return Err(NO_VERSION);
        }
        let directory: [u8; 8] = self.at(resource).ok_or(DAMAGED)?;
        let address = long(&directory, 0).filter(|address| *address != 0).ok_or(NO_VERSION)?;
        let resources = self.place(address, after, sections)?;

        // Type, name, language: the version's own, and of the other two whatever comes first.
        let types = self.entry(resources, 0, Some(VERSION))?;
        let names = self.entry(resources, folder(types)?, None)?;
        let languages = self.entry(resources, folder(names)?, None)?;
        let data: [u8; 16] = self.at(resources + u64::from(languages)).ok_or(DAMAGED)?;
        let place = self.place(long(&data, 0).ok_or(DAMAGED)?, after, sections)?;

        // Three lengths, `VS_VERSION_INFO` in UTF-16 with its end, and a fill to four octets.
        let info: [u8; 56] = self.at(place).ok_or(DAMAGED)?;
        if long(&info, 40) != Some(SIGNATURE) {
            return Err(NO_VERSION);
        }
        let part = |at| short(&info, at).ok_or(DAMAGED);
        Ok(format!("{}.{}.{}.{}", part(50)?, part(48)?, part(54)?, part(52)?))
    }

    /// Where an address of the loaded program lies in the file.
    fn place(&mut self, address: u32, table: u64, sections: u16) -> Result<u64, Why> {
        for number in 0..u64::from(sections) {
            let section: [u8; 40] = self.at(table + number * 40).ok_or(DAMAGED)?;
            let field = |at| long(&section, at).ok_or(DAMAGED);
            let (start, size, raw) = (field(12)?, field(16)?, field(20)?);
            if let Some(within) = address.checked_sub(start).filter(|within| *within < size) {
                return Ok(u64::from(raw) + u64::from(within));
            }
        }
        Err(DAMAGED)
    }

    /// The offset that an entry of a folder of resources leads to: the one with this number, or the first.
    fn entry(&mut self, resources: u64, folder: u32, number: Option<u32>) -> Result<u32, Why> {
        let start = resources + u64::from(folder);
        let head: [u8; 16] = self.at(start).ok_or(DAMAGED)?;
        let (named, numbered) = (short(&head, 12).ok_or(DAMAGED)?, short(&head, 14).ok_or(DAMAGED)?);
        let all = named.saturating_add(numbered).min(ENTRIES);
        for at in 0..u64::from(all) {
            let entry: [u8; 8] = self.at(start + 16 + at * 8).ok_or(DAMAGED)?;
            if number.is_none() || number == long(&entry, 0) {
                return long(&entry, 4).ok_or(DAMAGED);
            }
        }
        Err(NO_VERSION)
    }

    fn at<const N: usize>(&mut self, place: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.file.seek(SeekFrom::Start(place)).ok()?;
        self.file.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }
}

/// The offset of a further folder; three levels are all there are, so nothing goes round in circles.
fn folder(offset: u32) -> Result<u32, Why> {
    if offset & FOLDER == 0 { Err(DAMAGED) } else { Ok(offset & !FOLDER) }
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes: [u8; 2] = bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
    Some(u16::from_le_bytes(bytes))
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(u32::from_le_bytes(bytes))
}

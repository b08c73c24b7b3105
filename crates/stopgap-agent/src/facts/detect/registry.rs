//! A version in a value of the registry, where every account of this server could read it: below `HKLM\\SOFTWARE`, whose
//! keys are open to users unless somebody closed one. What is no version does not come out.

use stopgap_core::facts::Found;
use windows_registry::{LOCAL_MACHINE, Type};

use super::file::is_version;

/// ERROR_FILE_NOT_FOUND, as an HRESULT: there is no such key or value.
const NOT_FOUND: i32 = 0x8007_0002_u32.cast_signed();

pub(super) fn read(key: &str, value: &str) -> Result<String, Found> {
    let shown = format!("{key}, {value}");
    let below = key.strip_prefix("HKLM\\").unwrap_or(key);
    if !below.to_lowercase().starts_with("software\\") {
        return Err(Found::Unknown(format!("{shown}: only what is below HKLM\\SOFTWARE is read")));
    }
    let text = LOCAL_MACHINE.open(below).and_then(|key| match key.get_type(value)? {
        Type::U32 => key.get_u32(value).map(|number| number.to_string()),
        _ => key.get_string(value),
    });
    let text = text.map_err(|error| match error.code().0 {
        NOT_FOUND => Found::Absent(format!("there is no {shown}")),
        _ => Found::Unknown(format!("{shown}: {}", error.message())),
    })?;
    match is_version(&text) {
        true => Ok(text),
        false => Err(Found::Unreadable(format!("{shown} is no version"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_comes_out_and_nothing_else_does() {
        let key = LOCAL_MACHINE.create("SOFTWARE\\StopgapTest\\Product").unwrap();
        key.set_string("Version", "7.1.1993.2351").unwrap();
        key.set_string("Secret", "hunter2 is no version").unwrap();
        key.set_u32("Build", 2351).unwrap();
        let at = "HKLM\\SOFTWARE\\StopgapTest\\Product";
        assert_eq!(read(at, "Version").unwrap(), "7.1.1993.2351");
        assert_eq!(read(at, "Build").unwrap(), "2351");
        assert!(matches!(read(at, "Secret"), Err(Found::Unreadable(why)) if !why.contains("hunter2")));
        assert!(matches!(read(at, "None"), Err(Found::Absent(_))));
        assert!(matches!(read("HKLM\\SOFTWARE\\StopgapTest\\None", "Version"), Err(Found::Absent(_))));
        assert!(matches!(read("HKLM\\SAM\\SAM", "C"), Err(Found::Unknown(_))));
        LOCAL_MACHINE.remove_tree("SOFTWARE\\StopgapTest").unwrap();
    }
}

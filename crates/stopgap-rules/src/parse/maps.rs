//! `<rewriteMaps>`.

use super::MAX_MAP_ENTRIES;
use super::collection::Builder;
use super::error::ParseError;
use super::reader::Reader;
use crate::model::RewriteMap;
use roxmltree::Node;
use std::collections::HashSet;

pub(super) fn maps(reader: &Reader, node: Node, builder: &mut Builder) -> Result<(), ParseError> {
    reader.attributes(node, &[])?;
    let level = builder.level().clone();
    for child in reader.elements(node)? {
        match reader.name(child) {
            "rewriteMap" => {
                let map = map(reader, child, &mut builder.map_entries)?;
                builder.maps.add((reader, child), &level, &map.name.clone(), map)?;
            }
            "clear" => builder.maps.clear((reader, child), &level)?,
            "remove" => builder.maps.remove((reader, child), &level)?,
            _ => return Err(reader.unknown(child, "rewriteMap, clear, remove")),
        }
    }
    Ok(())
}

fn map(reader: &Reader, node: Node, count: &mut usize) -> Result<RewriteMap, ParseError> {
    reader.attributes(node, &["name", "defaultValue", "ignoreCase"])?;
    let name = reader.required(node, "name")?;
    if name.is_empty() || name.trim() != name {
        return Err(reader.bad_value(node, "name", "a name without blanks at its ends"));
    }
    let mut entries: Vec<(String, String)> = Vec::new();
    let mut keys = HashSet::new();
    for child in reader.elements(node)? {
        reader.empty(child)?;
        match reader.name(child) {
            "add" => {
                reader.attributes(child, &["key", "value"])?;
                let key = reader.required(child, "key")?;
                // Of all keys of the schema this one alone is compared with its case.
                if !keys.insert(key) {
                    return Err(ParseError::DuplicateName {
                        place: reader.place(child),
                        name: key.to_owned(),
                    });
                }
                if *count == MAX_MAP_ENTRIES {
                    return Err(reader.too_many(child, "map entries", MAX_MAP_ENTRIES));
                }
                *count += 1;
                entries.push((key.to_owned(), child.attribute("value").unwrap_or("").to_owned()));
            }
            "clear" => {
                reader.attributes(child, &[])?;
                keys.clear();
                entries.clear();
            }
            "remove" => {
                reader.attributes(child, &["key"])?;
                let key = reader.required(child, "key")?;
                if keys.remove(key) {
                    entries.retain(|(other, _)| other != key);
                }
            }
            _ => return Err(reader.unknown(child, "add, clear, remove")),
        }
    }
    Ok(RewriteMap {
        name: name.to_owned(),
        default_value: node.attribute("defaultValue").unwrap_or("").to_owned(),
        ignore_case: reader.boolean(node, "ignoreCase", true)?,
        entries,
    })
}

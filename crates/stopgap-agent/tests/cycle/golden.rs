//! One file a scenario in `tests/golden`: its steps, and what each printed below it. `UPDATE_GOLDEN=1`
//! writes the files anew; what changed is then for a reader of the diff.

use std::path::Path;

use crate::script::play;

#[test]
fn every_scenario_is_as_it_was_written_down() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut differing = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 15, "{} holds {} scenarios", folder.display(), files.len());
    for file in files {
        let expected = std::fs::read_to_string(&file).unwrap();
        let played = play(&expected);
        if played == expected {
            continue;
        }
        if update {
            std::fs::write(&file, &played).unwrap();
        }
        differing.push(difference(&file, &expected, &played));
    }
    assert!(differing.is_empty() || update, "{}", differing.join("\n"));
}

fn difference(file: &Path, expected: &str, played: &str) -> String {
    let (expected, played): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), played.lines().collect());
    let same = expected.iter().zip(&played).take_while(|(a, b)| a == b).count();
    format!(
        "{}:{}\n  expected {:?}\n  found    {:?}",
        file.display(),
        same + 1,
        expected.get(same),
        played.get(same)
    )
}

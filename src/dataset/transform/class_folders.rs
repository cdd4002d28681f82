//! Files move into folders by their names: `training/0_12.jpg` becomes `training/class_00/0_12.jpg`.

use super::template::Template;
use super::{DatasetError, ErrorKind, made_key, nothing, others, regex};
use crate::dataset::content::Entry;
use crate::dataset::job::ClassFolders;

fn parts(this: &ClassFolders) -> Result<(regex::Regex, Template), DatasetError> {
    let pattern = regex(&this.pattern, "class_folders: the pattern")?;
    let name = Template::parse(&this.name, &pattern)
        .map_err(|why| DatasetError::new(ErrorKind::Job, format!("class_folders: the name {why}")))?;
    Ok((pattern, name))
}

pub(super) fn check(this: &ClassFolders) -> Result<(), DatasetError> {
    parts(this).map(drop)
}

pub(super) fn apply(this: &ClassFolders, entries: Vec<Entry>) -> Result<Vec<Entry>, DatasetError> {
    let (pattern, name) = parts(this)?;
    let (mut moved, mut rest) = (Vec::with_capacity(entries.len()), Vec::new());
    for mut entry in entries {
        let (folder, file) = entry.key.rsplit_once('/').unwrap_or(("", &entry.key));
        match pattern.captures(file) {
            None => rest.push(entry),
            Some(captures) => {
                let class = name.fill(&captures);
                let key =
                    if folder.is_empty() { format!("{class}/{file}") } else { format!("{folder}/{class}/{file}") };
                entry.key = made_key(key)?;
                moved.push(entry);
            }
        }
    }
    if moved.is_empty() {
        let what = format!("class_folders: no file's name matches `{}`", this.pattern);
        return Err(nothing(&what, &rest));
    }
    moved.extend(others(rest, this.others, &format!("class_folders: names that do not match `{}`", this.pattern))?);
    Ok(moved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::content::Content;
    use crate::dataset::job::Others;
    use crate::dataset::transform::distinct;

    fn entries(keys: &[&str]) -> Vec<Entry> {
        let entry = |key: &&str| Entry { key: (*key).into(), size: 0, content: Content::Bytes([].into()) };
        keys.iter().map(entry).collect()
    }

    fn food11(name: &str, keys: &[&str]) -> Result<Vec<String>, String> {
        let this = ClassFolders { pattern: r"^(\d+)_".into(), name: name.into(), others: Others::Keep };
        let made = apply(&this, entries(keys)).and_then(distinct).map_err(|error| error.message)?;
        Ok(made.into_iter().map(|entry| entry.key).collect())
    }

    #[test]
    fn files_move_below_their_folder() {
        let keys = ["training/0_12.jpg", "training/10_0.jpg", "validation/3_1.jpg", "0_1.jpg", "README"];
        assert_eq!(
            food11("class_{1:02}", &keys).unwrap(),
            [
                "README",
                "class_00/0_1.jpg",
                "training/class_00/0_12.jpg",
                "training/class_10/10_0.jpg",
                "validation/class_03/3_1.jpg"
            ]
        );
    }

    #[test]
    fn mistakes_name_the_files() {
        let error = food11("class_{1}", &["a/x.jpg", "a/y.jpg", "b", "c", "d"]).unwrap_err();
        insta::assert_snapshot!(error, @r"class_folders: no file's name matches `^(\d+)_`; there are `a/x.jpg`, `a/y.jpg`, `b` and 2 more");
        assert!(food11("{1}/../..", &["a/1_.jpg"]).unwrap_err().contains("leads out"));
        let this = ClassFolders { pattern: "^(x)".into(), name: "{1}".into(), others: Others::Refuse };
        assert!(apply(&this, entries(&["x", "y"])).unwrap_err().message.contains("`y`"));
        let this = ClassFolders { others: Others::Drop, ..this };
        assert_eq!(apply(&this, entries(&["x", "y"])).unwrap().len(), 1);
        let wrong = ClassFolders { pattern: "(".into(), ..this };
        assert!(check(&wrong).unwrap_err().message.contains("unclosed group"));
    }

    #[test]
    fn two_files_for_one_key_are_an_error() {
        let error = food11("", &["a/1_x", "a//1_x"]).unwrap_err();
        assert!(error.contains("cannot be a key"), "{error}");
        let error = food11("b", &["a/1_x", "a/b/_", "a/b/1_x", "a/b/b/1_x"]);
        assert!(error.is_ok(), "{error:?}");
        let this = ClassFolders { pattern: "^1".into(), name: "b".into(), others: Others::Keep };
        let twice = apply(&this, entries(&["a/1", "x"])).unwrap();
        let both = [twice, entries(&["a/b/1"])].concat();
        assert!(distinct(both).unwrap_err().message.contains("two files would be `a/b/1`"));
    }
}
